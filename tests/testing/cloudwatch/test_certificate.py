import ssl
import stat

from auditflow.testing.cloudwatch.certificate import in_folder


def test_a_certificate_that_is_there_already_is_kept(tmp_path):
    files = in_folder(tmp_path / "tls")
    before = [file.read_bytes() for file in files]
    assert in_folder(tmp_path / "tls") == files
    assert [file.read_bytes() for file in files] == before


def test_clients_trust_the_certificate_by_its_file_and_nobody_else_reads_its_key(tmp_path):
    certificate, key = in_folder(tmp_path)
    trusted = ssl.create_default_context(cafile=certificate).get_ca_certs()
    assert ("DNS", "localhost") in trusted[0]["subjectAltName"]
    assert ("IP Address", "127.0.0.1") in trusted[0]["subjectAltName"]
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
