"""Certificates are checked when the configuration is loaded: there, fitting, and valid now."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from auditflow.config import load
from auditflow.errors import ConfigError


def loaded(folder: Path, **tls: str):
    settings = "".join(f"    {name.replace('_', '-')}: {value}\n" for name, value in tls.items())
    (folder / "auditflow.yaml").write_text(f"server:\n  tls:\n{settings}")
    return load(folder / "auditflow.yaml", {}).server.tls


def problem(folder: Path, **tls: str) -> str:
    with pytest.raises(ConfigError) as refused:
        loaded(folder, **tls)
    (found,) = refused.value.problems
    assert (found.line, found.path) == (2, "server.tls")
    return f"{found.message}; {found.hint}"


def test_a_good_pair_is_accepted_with_paths_beside_the_file(issue, tmp_path: Path):
    certificate, key = issue()
    found = loaded(tmp_path, certificate="server.pem", key="server.key", client_ca="server.pem")
    assert (found.certificate, found.key, found.client_ca) == (certificate, key, certificate)


def test_what_is_not_there_is_named(issue, tmp_path: Path):
    issue()
    for name in ("certificate", "key", "client_ca"):
        paths = {"certificate": "server.pem", "key": "server.key"} | {name: "missing.pem"}
        assert f"{name.replace('_', '-')}: this file cannot be read" in problem(tmp_path, **paths)


def test_a_key_in_place_of_its_path_is_not_repeated(issue, tmp_path: Path):
    _, key = issue()
    told = problem(tmp_path, certificate="server.pem", key=json.dumps(key.read_text()))
    assert "key: this file cannot be read" in told
    assert "PRIVATE" not in told


def test_a_key_of_another_certificate_is_found(issue, tmp_path: Path):
    issue()
    issue("other")
    assert "the key is not that of the certificate" in problem(
        tmp_path, certificate="server.pem", key="other.key"
    )


@pytest.mark.parametrize(("days", "reason"), [((-9, -1), "expired"), ((1, 9), "not yet valid")])
def test_a_certificate_has_to_be_valid_now(issue, tmp_path: Path, days: tuple[int, int], reason: str):
    issue("server", *days)
    assert reason in problem(tmp_path, certificate="server.pem", key="server.key")


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(issue, tmp_path: Path):
    issue()
    command = [
        "openssl",
        "pkey",
        "-aes128",
        "-passout",
        "pass:secret",
        "-in",
        "server.key",
        "-out",
        "locked.key",
    ]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert "without a passphrase" in problem(tmp_path, certificate="server.pem", key="locked.key")


def test_what_is_no_certificate_is_refused(issue, tmp_path: Path):
    issue()
    (tmp_path / "x.pem").write_text("hello")
    assert "PEM" in problem(tmp_path, certificate="x.pem", key="server.key")
    assert "PEM" in problem(tmp_path, certificate="server.pem", key="server.key", client_ca="x.pem")


def test_the_settings_of_the_page_are_accepted(issue, tmp_path: Path):
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "secure.md").read_text()
    (block,) = [
        each for each in re.findall(r"^```yaml\n(.*?)^```", page, re.DOTALL | re.MULTILINE) if "tls:" in each
    ]
    (tmp_path / "tls").mkdir()
    for name in ("server", "clients"):
        for path in issue(name):
            path.rename(tmp_path / "tls" / path.name)
    (tmp_path / "auditflow.yaml").write_text(block)
    assert load(tmp_path / "auditflow.yaml", {}).server.tls.client_ca == tmp_path / "tls" / "clients.pem"
