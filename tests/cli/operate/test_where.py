"""`auditflow where` tells what became of one event, and nothing that an event holds steers the terminal."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid

import pytest
from fastapi import FastAPI

from auditflow import config as configuration
from auditflow.api import problems
from auditflow.api.operate import events as where
from auditflow.apps.http.listener import bind
from auditflow.apps.http.server import Server
from auditflow.config import PipelineConfig
from auditflow.journal import AppendBatch
from auditflow.journal.memory import MemoryJournal
from auditflow.ledger import DeadLetter, Progress, Update
from auditflow.ledger.memory import MemoryLedger
from auditflow.ledger.receipts import receipt

STEERING = "\x1b[2J\x07\u009b"


class Running:
    """The call over real HTTP, with a pipeline `p`."""

    def __init__(self) -> None:
        self.journal, self.ledger = MemoryJournal(), MemoryLedger()
        self.ledger.register(["p"], 1, 1)
        app = FastAPI()
        rules = {"rules": [{"field": "eventType", "operator": "eq", "value": "other"}]}
        config = PipelineConfig.model_validate(
            {"name": "p", "condition": rules, "sink": {"name": "logging_sink"}}
        )
        app.include_router(
            where.router(
                where.Where(self.journal, self.ledger, lambda: {"p": configuration.Running("p", "", config)})
            )
        )
        problems.install(app)
        listener = bind("127.0.0.1", 0, "--port")
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.server = Server(app, 1.0)
        self.thread = threading.Thread(target=lambda: asyncio.run(self.server.run_on(listener)))

    def publish(self, *tenants: str) -> str:
        event_id = str(uuid.uuid4())
        events = [
            json.dumps({"eventId": event_id, "eventType": "a", "tenantId": each}).encode() for each in tenants
        ]
        asyncio.run(self.journal.append(AppendBatch(events, [event_id] * len(events), [*tenants])))
        return event_id

    def finish(self, **update: object) -> None:
        self.ledger.commit([Update("p", Progress(self.journal.head()), **update)])


@pytest.fixture
def running():
    running = Running()
    running.thread.start()
    yield running
    running.server.stop()
    running.thread.join()


def test_an_event_that_only_the_fallback_has_says_so(auditflow, running):
    event_id = running.publish("acme")
    place = {"destination": "second", "fallback": True}
    running.finish(delivered=1, receipts=[receipt("p", [1], place, at=1000, attempts=2, owed=True)])
    line = auditflow("where", event_id, "--url", running.url).out.splitlines()[-1]
    assert line.endswith("second (attempt 2, by the fallback); the sink is to get it, too")


def test_a_delivered_event_is_a_line_with_its_place(auditflow, running):
    event_id = running.publish("acme")
    place = {"destination": "cloudwatch:eu-west-1:/a:b", "log_stream": "b"}
    running.finish(receipts=[receipt("p", [1], place, at=2_000_000, attempts=3)])
    answer = auditflow("where", event_id.upper(), "--url", running.url)
    head, _, line = answer.out.splitlines()
    assert answer.code == 0
    assert head.startswith(f"{event_id} of acme, number 1, accepted ")
    assert line.split()[:2] == ["p", "delivered"]
    assert line.rstrip().endswith("1970-01-01T00:33:20.000Z  cloudwatch:eu-west-1:/a:b (attempt 3)")


def test_a_pending_event_is_told_with_what_holds_it_up(auditflow, running):
    event_id = running.publish("acme")
    error = {"code": "AccessDenied", "message": "not allowed"}
    running.ledger.note({"p": json.dumps({"state": "blocked", "lastError": error})})
    out = auditflow("where", event_id, "--url", running.url).out
    assert "behind 0 events; the pipeline is blocked: AccessDenied: not allowed" in out
    running.ledger.pause("p", paused=True)
    assert "the pipeline is paused\n" in auditflow("where", event_id, "--url", running.url).out


def test_a_filtered_event_is_told_with_the_rule(auditflow, running):
    event_id = running.publish("acme")
    running.finish(filtered=1)
    out = auditflow("where", event_id, "--url", running.url).out
    assert "condition.rules[0] does not hold: eventType eq other" in out


def test_control_characters_do_not_reach_the_terminal(auditflow, running):
    event_id = running.publish("acme")
    bad = DeadLetter("p", 1, "Bad" + STEERING, "no" + STEERING, b"{}", last_failed=1)
    running.finish(letters=[bad])
    out = auditflow("where", event_id, "--url", running.url).out
    assert not set(STEERING) & set(out) - {"[", "2", "J"}
    assert "letter 1: Bad\\u001b[2J\\u0007\\u009b: no\\u001b" in out


def test_it_comes_as_json_and_of_the_tenant_asked_for(auditflow, running):
    event_id = running.publish("acme", "other")
    answer = auditflow("where", event_id, "--url", running.url, "--tenant", "acme", "--format", "json")
    found = json.loads(answer.out)
    assert (found["tenant"], found["sequence"], found["pipelines"][0]["state"]) == ("acme", 1, "pending")


@pytest.mark.parametrize(
    ("event_id", "reason"),
    [
        ("5c0e9b0e-3f6b-4c1e-8a55-0d8f7a8f1f10", "is known"),
        ("../status", "Not Found"),
        ("x", "expected a UUID"),
    ],
)
def test_an_id_that_is_not_known_or_none_at_all_is_told(auditflow, running, event_id, reason):
    answer = auditflow("where", event_id, "--url", running.url)
    assert (answer.code, answer.out) == (1, "")
    assert reason in answer.err
    assert "Traceback" not in answer.err
