"""What the section `auth` takes, and what it refuses with a word that helps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from auditflow.config import load
from auditflow.errors import ConfigError
from auditflow.ingest.auth import AuthConfig
from auditflow.settings import faults

JWT = {"issuer": "https://id.example.com", "audience": "auditflow", "jwks-url": "https://id.example.com/keys"}
SECRET = "0123456789abcdef0123456789abcdef"


def test_the_defaults_are_those_of_the_contract():
    config = AuthConfig.model_validate({"api-keys": {}, "jwt": JWT})
    assert config.jwt.algorithms == ("RS256", "ES256")
    assert (config.jwt.leeway, config.jwt.tenant_claim, config.jwt.tenant_optional) == (30.0, "tenant", False)
    scopes = config.scopes
    assert (scopes.publish, scopes.read, scopes.operate) == (
        "audit-event:write", "audit-event:read", "audit-event:operate",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "nobody could call"),
        ({"scopes": {"read": "r"}}, "nobody could call"),
        ({"api-keys": {}, "insecure-allow-anyone": True}, "makes the rest of `auth` void"),
        ({"jwt": JWT | {"algorithms": ["HS256"]}}, "must be 'RS256'"),
        ({"jwt": JWT | {"algorithms": ["none"]}}, "must be 'RS256'"),
        ({"jwt": JWT | {"algorithms": []}}, "at least 1 item"),
        ({"jwt": JWT | {"jwks-url": "http://id.example.com/keys"}}, "expected an https:// address"),
        ({"jwt": JWT | {"jwks-url": "file:///etc/passwd"}}, "expected an https:// address"),
        ({"jwt": JWT | {"jwks-url": "https://[hunter2"}}, "expected an https:// address"),
        ({"jwt": JWT | {"jwks-file": "keys.json"}}, "either jwks-url or jwks-file"),
        ({"jwt": {"issuer": "i", "audience": "a"}}, "either jwks-url or jwks-file"),
        ({"jwt": JWT | {"leeway": "1h"}}, "less than or equal to 300"),
        ({"jwt": JWT | {"audience": ""}}, "at least 1 character"),
        ({"gateway": {}}, "needs addresses or a secret"),
        ({"gateway": {"secret": "hunter2"}}, "shorter than 32 characters"),
        ({"gateway": {"addresses": ["10.0.0.1/8"]}}, "expected an address or a network"),
        ({"gateway": {"addresses": ["gateway"]}}, "expected an address or a network"),
        ({"api-keys": {}, "scopes": {"read": "a b"}}, "without blanks"),
    ],
)
def test_what_would_let_nobody_or_anybody_in_is_refused(given: dict[str, Any], message: str):
    with pytest.raises(ValidationError) as refused:
        AuthConfig.model_validate(given)
    said = "; ".join(fault.message for fault in faults(refused.value))
    assert message in said
    assert "hunter2" not in said


def test_paths_start_at_the_folder_of_the_file(tmp_path: Path):
    file = tmp_path / "auditflow.yaml"
    file.write_text("auth: {api-keys: {file: secret/keys.json}}\n")
    assert load(file, {}).auth.api_keys.file == tmp_path / "secret" / "keys.json"


def test_a_gateways_secret_comes_from_the_environment_and_is_never_shown(tmp_path: Path):
    file = tmp_path / "auditflow.yaml"
    file.write_text("auth: {gateway: {secret: '${GATEWAY}'}}\n")
    config = load(file, {"GATEWAY": SECRET})
    assert config.auth.gateway.secret.get_secret_value() == SECRET
    assert SECRET not in repr(config)
    with pytest.raises(ConfigError) as refused:
        load(file, {"GATEWAY": "hunter2"})
    assert "hunter2" not in str(refused.value)
    assert "auditflow.yaml:1:" in str(refused.value)
