"""`auditflow replay` says how many events go where, or would."""

from __future__ import annotations

import json

import httpx2
import pytest

EVENT = {"eventType": "a", "sourceSystem": "b"}


@pytest.fixture
def published(server):
    for _ in range(3):
        httpx2.post(f"{server.url}/audit/publish", json=EVENT)
    return server


def test_a_dry_run_says_how_many_and_does_nothing(auditflow, published):
    answer = auditflow(
        "replay", "--pipeline", "everything", "--since", "1h", "--dry-run", "--url", published.url
    )
    assert (answer.code, answer.out) == (0, "everything takes 3 of the 3 events of that time\n")
    assert [account.replay_ranges for account in published.ledger.accounts()] == [[]]


@pytest.mark.parametrize(
    ("looked", "said"), [(7, "takes 2 of the first 7 events of that time; there are 9,000")]
)
def test_a_dry_run_that_has_not_seen_all_says_so(auditflow, monkeypatch, looked, said):
    found = {"pipeline": "p", "events": 9000, "looked": looked, "matching": 2}
    monkeypatch.setattr(httpx2, "request", lambda *_, **__: httpx2.Response(200, content=json.dumps(found)))
    answer = auditflow("replay", "--pipeline", "p", "--since", "1h", "--dry-run")
    assert answer.out == f"p {said}\n"


def test_a_replay_is_left_to_delivery(auditflow, published):
    answer = auditflow(
        "replay", "--pipeline", "everything", "--since", "1h", "--until", "now", "--url", published.url
    )
    assert (answer.code, answer.out) == (0, "3 events go to everything; see auditflow status\n")


@pytest.mark.parametrize(
    "arguments", [["--since", "1h"], ["--pipeline", "p"], ["--pipeline", "p", "--since", "x"]]
)
def test_a_wrong_command_line_is_told_as_such(auditflow, arguments):
    assert auditflow("replay", *arguments).code == 2
