"""Whose events are published, and what is redacted in them before they are stored."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from auditflow.errors import RedactionFailed
from auditflow.ingest.admission import Quota
from auditflow.ingest.auth import Principal
from auditflow.ingest.limits import Limits
from auditflow.ingest.publish import Publish
from auditflow.ingest.redaction.config import RedactionConfig
from auditflow.ingest.redaction.offload import MOST_AT_ONCE
from auditflow.ingest.redaction.redactor import Redactor
from auditflow.journal.memory import MemoryJournal

EVENT = {"eventType": "auth.login", "sourceSystem": "web"}
MASK_EMAIL = RedactionConfig.model_validate({"rules": [{"field": "extra.email"}]})


class Caller:
    """Publishes as somebody whom the guard in front has found out."""

    def __init__(self, tenant: str | None = None) -> None:
        self.journal = MemoryJournal()
        self.publish = Publish(self.journal, Limits())
        self.principal = Principal("caller", tenant, frozenset())

    async def post(self, body: object) -> tuple[int, dict[str, Any]]:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": json.dumps(body).encode()}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        headers = [(b"content-type", b"application/json")]
        state = {"principal": self.principal}
        await self.publish(
            {"type": "http", "method": "POST", "headers": headers, "state": state}, receive, send
        )
        return sent[0]["status"], json.loads(sent[1]["body"])

    def stored(self) -> Sequence[bytes]:
        return [event for block in self.journal.read(1, 10**6) for event in block.events]


@pytest.fixture
def caller() -> Caller:
    return Caller()


async def test_the_authenticated_tenant_owns_the_events_whatever_they_say():
    caller = Caller("acme")
    _, said = await caller.post([EVENT, EVENT | {"tenantId": "globex"}, EVENT | {"tenantId": "acme"}])
    assert said["accepted"] == 3
    (block,) = caller.journal.read(1, 10**6)
    assert dict(block.tenants) == {"acme": 3}
    assert {json.loads(event)["tenantId"] for event in block.events} == {"acme"}


async def test_what_is_redacted_is_never_stored(caller):
    caller.publish.redactions.change(MASK_EMAIL)
    await caller.post([EVENT | {"extra": {"email": "a@b.example", "n": n}} for n in range(3)])
    await caller.post(EVENT | {"extra": {"email": "a@b.example"}})
    assert len(caller.stored()) == 4
    assert not any(b"a@b.example" in event for event in caller.stored())
    caller.publish.redactions.change(RedactionConfig())
    await caller.post(EVENT | {"extra": {"email": "a@b.example"}})
    assert b"a@b.example" in caller.stored()[-1]


@dataclass
class Own:
    """A tenant with rules of its own."""

    redaction: RedactionConfig
    enabled: bool = True
    quota: Quota = field(default_factory=Quota)


async def test_a_tenants_own_rules_follow_those_for_all(caller):
    own = RedactionConfig.model_validate({"rules": [{"field": "extra.phone", "action": "drop"}]})
    caller.publish.redactions.change(MASK_EMAIL)
    caller.publish.provision({"acme": Own(own), "globex": Own(RedactionConfig())})
    extra = {"email": "a@b.example", "phone": "1"}
    await caller.post([EVENT | {"tenantId": tenant, "extra": extra} for tenant in ("acme", "globex", "acme")])
    kept = [json.loads(event)["extra"] for event in caller.stored()]
    assert kept == [{"email": "***"}, {"email": "***", "phone": "1"}, {"email": "***"}]


async def test_an_event_that_cannot_be_redacted_is_refused_and_spoils_no_other(caller, monkeypatch):
    caller.publish.redactions.change(MASK_EMAIL)
    failure = RedactionFailed(reason="it is nested too deeply")
    monkeypatch.setattr(
        Redactor,
        "begin",
        lambda _, events: ([failure if b'"bad"' in each else each for each in events], set()),
    )
    status, said = await caller.post([EVENT | {"extra": {"bad": 1}}, EVENT])
    assert (status, said["accepted"]) == (200, 1)
    assert [(r["index"], r["code"]) for r in said["rejected"]] == [(0, "REDACTION_FAILED")]
    status, said = await caller.post(EVENT | {"extra": {"bad": 1}})
    assert (status, said["code"]) == (422, "REDACTION_FAILED")
    assert len(caller.stored()) == 1


async def test_others_are_answered_while_a_large_event_is_redacted(caller, monkeypatch):
    caller.publish.redactions.change(MASK_EMAIL)
    answered, rewritten = threading.Event(), Redactor._rewritten

    def waiting(*arguments: Any) -> Any:
        assert answered.wait(20)
        return rewritten(*arguments)

    monkeypatch.setattr(Redactor, "_rewritten", waiting)
    extra = {"email": "a@b.example", "x": {"email": 1}, "more": "x" * MOST_AT_ONCE}
    large = asyncio.create_task(caller.post(EVENT | {"tenantId": "acme", "extra": extra}))
    await asyncio.sleep(0)
    status, _ = await caller.post(EVENT | {"tenantId": "globex"})
    assert (status, large.done()) == (200, False)
    answered.set()
    status, _ = await large
    assert status == 200
    assert len(caller.stored()) == 2
    assert not any(b"a@b.example" in event for event in caller.stored())


@pytest.mark.parametrize("tenant", [None, "acme", "_platform"])
async def test_nobody_publishes_what_auditflow_says_of_itself(tenant):
    caller = Caller(tenant)
    own = {"eventType": "auditflow.keys.created", "sourceSystem": "auditflow"}
    status, said = await caller.post(own)
    assert (status, said["code"]) == (403, "FORBIDDEN")
    hidden = json.loads(json.dumps(own).replace("aud", "\\u0061ud"))
    others = [EVENT, EVENT | {"eventType": "auditflows.a"}, EVENT | {"sourceSystem": "my-auditflow"}]
    _, said = await caller.post([hidden, *others])
    assert (said["accepted"], [rejected["index"] for rejected in said["rejected"]]) == (3, [0])
    assert len(caller.stored()) == 3


@pytest.mark.parametrize(
    "looks_like_it",
    [
        {"eventType": "Auditflow.keys.created"},
        {"eventType": " auditflow.keys.created"},
        {"eventType": "\u200bauditflow.keys.created"},
        {"eventType": "\uff41uditflow.keys.created"},
        {"sourceSystem": "auditflow"},
        {"sourceSystem": "AuditFlow "},
        {"sourceSystem": "audit\u00adflow"},
    ],
)
async def test_nobody_publishes_what_looks_like_it(looks_like_it):
    caller = Caller("acme")
    status, said = await caller.post(EVENT | looks_like_it)
    assert (status, said["code"], caller.stored()) == (403, "FORBIDDEN", [])
