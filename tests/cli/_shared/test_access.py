"""What commands show a server."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from auditflow.cli._shared.access import Access
from auditflow.errors import AccessUnusable


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUDITFLOW_TOKEN", raising=False)


def test_nothing_is_shown_where_nothing_was_given():
    assert Access().headers() == {}
    assert Access().verify() is True


def test_the_token_of_a_file_goes_before_that_of_the_environment(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("AUDITFLOW_TOKEN", " from-variable ")
    assert Access().headers() == {"Authorization": "Bearer from-variable"}
    (tmp_path / "token").write_text("from-file\n")
    assert Access(token_file=tmp_path / "token").headers() == {"Authorization": "Bearer from-file"}


@pytest.mark.parametrize(
    "content", [b"secret one\nsecret two", b"s\xc3\xa9cret", b"\xffsecret", b"secret\x00"]
)
def test_what_is_no_token_is_named_by_its_place_and_never_repeated(tmp_path: Path, content: bytes):
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(AccessUnusable) as refused:
        Access(token_file=tmp_path / "token").headers()
    assert str(tmp_path / "token") in str(refused.value)
    assert "cret" not in str(refused.value)


def test_files_that_are_not_there_are_named(tmp_path: Path):
    missing = tmp_path / "missing"
    asked = (Access(missing).headers, Access(ca=missing).verify, Access(client_certificate=missing).verify)
    for ask in asked:
        with pytest.raises(AccessUnusable, match="missing: No such file"):
            ask()
    (tmp_path / "empty").write_text("")
    with pytest.raises(AccessUnusable, match="empty"):
        Access(ca=tmp_path / "empty").verify()


def test_certificates_are_used(tmp_path: Path, issue):
    certificate, key = issue()
    both = tmp_path / "both"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    context = Access(ca=certificate, client_certificate=both).verify()
    assert isinstance(context, ssl.SSLContext)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.cert_store_stats()["x509"] == 1, "it alone is trusted"
