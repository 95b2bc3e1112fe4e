import os

import pytest

from auditflow.errors import SecretMissing, SecretUnreadable
from auditflow.secrets.sources import EnvironmentSecrets, FolderSecrets, variable_of


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme" / "token").write_bytes(b"s3cr3t\n")
    return tmp_path


def missing(source, tenant, key):
    with pytest.raises(SecretMissing) as raised:
        source.get(tenant, key)
    return raised.value


@pytest.mark.parametrize(
    ("tenant", "key", "variable"),
    [
        ("acme", "api_key", "AUDITFLOW_TENANT_ACME_API_KEY"),
        ("a.b-C9", "k", "AUDITFLOW_TENANT_A_B_C9_K"),
        ("_platform", "k", "AUDITFLOW_TENANT__PLATFORM_K"),
    ],
)
def test_a_secret_has_a_variable(tenant, key, variable):
    assert variable_of(tenant, key) == variable
    assert EnvironmentSecrets({variable: "value"}).get(tenant, key) == "value"


@pytest.mark.parametrize("environ", [{}, {"AUDITFLOW_TENANT_ACME_K": " "}, {"AUDITFLOW_TENANT_OTHER_K": "x"}])
def test_a_variable_that_is_not_there_or_blank_is_missing(environ):
    error = missing(EnvironmentSecrets(environ), "acme", "k")
    assert error.code == "SECRET_MISSING"
    for word in ("'k'", "'acme'", "AUDITFLOW_TENANT_ACME_K"):
        assert word in str(error)
    assert "AUDITFLOW_TENANT_ACME_K" in error.hint


def test_a_secret_is_a_file_whose_last_line_end_does_not_count(folder):
    assert FolderSecrets(folder).get("acme", "token") == "s3cr3t"


def test_a_file_that_has_changed_is_read_again(folder):
    source = FolderSecrets(folder)
    source.get("acme", "token")
    (folder / "acme" / "token").write_text("rotated")
    assert source.get("acme", "token") == "rotated"


def test_a_file_that_is_not_there_or_blank_is_missing(folder):
    (folder / "acme" / "blank").write_text("\n")
    source = FolderSecrets(folder)
    for tenant, key in (("acme", "blank"), ("acme", "other"), ("other", "token")):
        error = missing(source, tenant, key)
        assert str(folder / tenant / key) in str(error)
    with pytest.raises(SecretMissing):
        FolderSecrets(folder / "nowhere").get("acme", "token")


def test_a_file_that_cannot_be_read_says_why_and_never_what_it_holds(folder):
    (folder / "acme" / "binary").write_bytes(b"topsecret\xff")
    (folder / "acme" / "large").write_bytes(b"x" * 100_000)
    (folder / "acme" / "folder").mkdir()
    for key, reason in (("binary", "UTF-8"), ("large", "65536"), ("folder", "directory")):
        with pytest.raises(SecretUnreadable, match=reason) as raised:
            FolderSecrets(folder).get("acme", key)
        assert "topsecret" not in str(raised.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_not_missing(folder):
    (folder / "acme" / "token").chmod(0)
    with pytest.raises(SecretUnreadable, match="Permission"):
        FolderSecrets(folder).get("acme", "token")
