"""`auditflow keys`: the secret is shown once, and on standard output alone."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path

import pytest

from auditflow.ingest.auth.keys import Keys
from auditflow.ingest.operator_audit import OperatorAudit


def test_a_key_is_printed_once_and_opens_the_door(auditflow, tmp_path: Path):
    made = auditflow(
        "keys", "create", "--name", "web", "--tenant", "acme", "--expires", "90d", "--data-dir", tmp_path
    )
    text = made.out.strip()
    assert made.code == 0
    assert text not in made.err
    found = Keys(tmp_path / "keys.json").look_up(text)
    assert (found.name, found.tenant, found.scopes) == ("web", "acme", {"audit-event:write"})
    for arguments in (["list"], ["list", "--format", "json"]):
        listed = auditflow("keys", *arguments, "--data-dir", tmp_path)
        assert "acme" in listed.out
        assert text.rpartition("_")[2] not in listed.out
        assert "sha256" not in listed.out


def test_scopes_are_given_one_by_one(auditflow, tmp_path: Path):
    scopes = ["--scope", "audit-event:read", "--scope", "audit-event:operate"]
    auditflow("keys", "create", "--name", "ops", *scopes, "--data-dir", tmp_path)
    (key,) = json.loads(auditflow("keys", "list", "--format", "json", "--data-dir", tmp_path).out)["keys"]
    assert key["scopes"] == ["audit-event:read", "audit-event:operate"]
    assert (key["tenant"], key["expires"]) == (None, None)


def test_a_key_is_revoked_by_its_id(auditflow, tmp_path: Path):
    file = tmp_path / "elsewhere" / "my-keys.json"
    text = auditflow("keys", "create", "--name", "web", "--file", file).out.strip()
    number = text.split("_")[1]
    assert auditflow("keys", "revoke", number, "--file", file).out == f"key {number} of web is revoked\n"
    assert Keys(file).look_up(text) is None
    again = auditflow("keys", "revoke", number, "--file", file)
    assert again.code == 1
    assert "auditflow keys list" in again.err
    assert auditflow("keys", "list", "--file", file).out == "no keys\n"


def test_what_is_done_to_keys_waits_for_the_server_to_put_it_on_record(auditflow, tmp_path: Path):
    file = tmp_path / "my-keys.json"
    text = auditflow("keys", "create", "--name", "web", "--tenant", "acme", "--file", file).out.strip()
    number, secret = text.split("_", 2)[1:]
    auditflow("keys", "revoke", number, "--file", file)
    auditflow("keys", "revoke", number, "--file", file)  # there is nothing to revoke any more
    waiting = b"\n".join(OperatorAudit(tmp_path).waiting().values())
    events = [json.loads(event) for event in waiting.splitlines()]
    assert [event["eventType"] for event in events] == ["auditflow.keys.created", "auditflow.keys.revoked"]
    key = {"keyId": number, "keyName": "web", "keyTenant": "acme", "scopes": ["audit-event:write"]}
    user = pwd.getpwuid(os.getuid()).pw_name
    assert all(event["extra"] == key | {"actor": user, "outcome": "success"} for event in events)
    assert secret.encode() not in waiting
    assert b"sha256" not in waiting


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--name", " "),
        ("--name", "a\x1bb"),
        ("--tenant", "../x"),
        ("--scope", "a b"),
        ("--scope", ""),
        ("--expires", "5y"),
        ("--expires", "0s"),
        ("--expires", "999999d"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_made(auditflow, tmp_path: Path, option: str, value: str):
    given = {"--name": "web"} | {option: value}
    answer = auditflow(
        "keys", "create", *(part for pair in given.items() for part in pair), "--data-dir", tmp_path
    )
    assert answer.code == 2
    assert option in answer.err
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_is_said_and_left_alone(auditflow, tmp_path: Path):
    (tmp_path / "keys.json").write_text("{")
    answer = auditflow("keys", "create", "--name", "web", "--data-dir", tmp_path)
    assert (answer.code, answer.out) == (1, "")
    assert "cannot be used" in answer.err
    assert (tmp_path / "keys.json").read_text() == "{"
