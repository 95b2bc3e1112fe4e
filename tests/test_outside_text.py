"""What comes from outside is read as it was meant, or it is known that it cannot be."""

from __future__ import annotations

import os

import pytest

from auditflow.config.interpolation import expand
from auditflow.errors import SecretUnreadable
from auditflow.outside_text import is_text, without_line_end
from auditflow.secrets.sources import EnvironmentSecrets, FolderSecrets

NOT_UTF8 = os.fsdecode(b"caf\xe9")


def test_line_ends_at_the_end_do_not_count_and_nothing_else_goes():
    assert [without_line_end(each) for each in ("a\n", "a\r\n\n", " a ", "a\nb", "")] == [
        "a",
        "a",
        " a ",
        "a\nb",
        "",
    ]


def test_bytes_that_are_no_text_are_known():
    assert is_text("caf\u00e9")
    assert not is_text(NOT_UTF8)


def test_the_environment_a_folder_and_a_configuration_read_alike(tmp_path):
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme" / "key").write_bytes(b"s3cret\r\n")
    assert FolderSecrets(tmp_path).get("acme", "key") == "s3cret"
    assert EnvironmentSecrets({"AUDITFLOW_TENANT_ACME_KEY": "s3cret\n"}).get("acme", "key") == "s3cret"
    assert expand("${KEY}", {"KEY": "s3cret\n"}).text == "s3cret"


def test_what_is_no_utf_8_is_refused_with_its_name():
    with pytest.raises(SecretUnreadable, match=r"AUDITFLOW_TENANT_ACME_KEY.*not UTF-8"):
        EnvironmentSecrets({"AUDITFLOW_TENANT_ACME_KEY": NOT_UTF8}).get("acme", "key")
    (problem,) = expand("${KEY}", {"KEY": NOT_UTF8}).problems
    assert problem == ("the environment variable KEY is not UTF-8", "set it to text in UTF-8")
