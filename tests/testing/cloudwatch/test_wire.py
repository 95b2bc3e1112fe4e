import http.client
import ipaddress
import socket
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from auditflow.testing.cloudwatch import StrictCloudWatch


@pytest.fixture
def certificate(tmp_path):
    """A self-signed certificate for 127.0.0.1: paths of certificate and key."""

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert_file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )
    return cert_file, key_file


def test_tls_is_served_with_the_given_certificate(certificate, session):
    cert, key = certificate
    with StrictCloudWatch(tls_cert=cert, tls_key=key) as cloud:
        assert cloud.url.startswith("https://")
        client = session.client("logs", endpoint_url=cloud.url, verify=str(cert))
        client.create_log_group(logGroupName="/a")
        cloud.fault("reset", times=1)
        assert client.describe_log_groups()["logGroups"][0]["logGroupName"] == "/a"
        client.close()


def test_a_connection_is_kept_alive(cloud):
    connection = http.client.HTTPConnection("127.0.0.1", int(cloud.url.rsplit(":", 1)[1]))
    sockets = set()
    for _ in range(3):
        connection.request("GET", "/_counts")
        connection.getresponse().read()
        sockets.add(connection.sock)
    connection.close()
    assert len(sockets) == 1


def test_a_body_of_unknown_length_is_refused(cloud):
    with socket.create_connection(("127.0.0.1", int(cloud.url.rsplit(":", 1)[1]))) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert b" 411 " in client.recv(1000).partition(b"\r\n")[0]


def test_a_client_that_goes_away_leaves_the_server_well(cloud, logs, capfd):
    with socket.create_connection(("127.0.0.1", int(cloud.url.rsplit(":", 1)[1]))) as rude:
        rude.sendall(b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf")
    logs.describe_log_groups()
    assert capfd.readouterr().err == ""


def test_a_reset_is_a_reset_and_not_a_mere_close(cloud):
    cloud.fault("reset")
    head = (
        "POST / HTTP/1.1\r\nX-Amz-Target: Logs_20140328.DescribeLogGroups\r\nX-Amz-Date: x\r\n"
        "Authorization: AWS4-HMAC-SHA256 Credential=A/20261118/us-east-1/logs/aws4_request, "
        f"SignedHeaders=host, Signature={'0' * 64}\r\nContent-Length: 2\r\n\r\n{{}}"
    )
    with socket.create_connection(("127.0.0.1", int(cloud.url.rsplit(":", 1)[1]))) as connection:
        connection.sendall(head.encode())
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
