"""Events of own audit wait on disk, whole and for the owner alone, until they are taken in."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from auditflow.event.model import is_own
from auditflow.ingest.operator_audit import ITSELF, LONGEST_LIST, LONGEST_TEXT, READ, OperatorAudit
from auditflow.ingest.validate import validate

AMARA = {"actor": "amara", "actorTenant": None, "peer": "10.0.0.7"}


@pytest.fixture
def own(tmp_path: Path) -> OperatorAudit:
    return OperatorAudit(tmp_path)


def events(own: OperatorAudit) -> list[dict[str, Any]]:
    return [json.loads(raw) for raw in own.waiting().values()]


def test_what_is_noted_waits_as_an_event_of_the_platform(own):
    own.note("pipelines.paused", AMARA, outcome="success", pipeline="p", reason=None)
    ((path, raw),) = own.waiting().items()
    assert is_own(validate(raw, 10_000))
    event = json.loads(raw)
    assert event["eventType"] == "auditflow.pipelines.paused"
    assert event["extra"] == {"actor": "amara", "peer": "10.0.0.7", "outcome": "success", "pipeline": "p"}
    assert "tenantId" not in event
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_events_wait_in_order_and_so_many_are_given_at_once(own):
    for number in range(READ + 1):
        own.note("n", ITSELF, number=number)
    assert [event["extra"]["number"] for event in events(own)] == list(range(READ))
    assert own.count() == READ + 1


def test_what_somebody_has_made_long_is_cut(own):
    own.note("n", ITSELF, selection={"code": "x" * 10_000, "ids": list(range(10_000)), "since": None})
    (event,) = events(own)
    assert event["extra"]["selection"] == {"code": "x" * LONGEST_TEXT + "…", "ids": list(range(LONGEST_LIST))}


def test_a_disk_that_refuses_is_logged_and_breaks_nothing(own, tmp_path, caplog):
    (tmp_path / "own-audit").write_text("in the way")
    own.note("pipelines.paused", AMARA, outcome="success")
    assert "auditflow.pipelines.paused" in caplog.text
    assert "cannot be kept" in caplog.text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_notes_belongs_to_the_owner_of_the_directory(own, tmp_path):
    os.chown(tmp_path, 12_345, 12_345)
    own.note("keys.created", ITSELF)
    (path,) = own.waiting()
    assert {path.stat().st_uid, path.parent.stat().st_uid} == {12_345}
