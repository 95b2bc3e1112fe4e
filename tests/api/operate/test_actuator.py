"""Dead letters and health as those who know Spring's Actuator ask for them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from auditflow.api import ingest_app
from auditflow.ingest.limits import Limits
from auditflow.ingest.publish import Publish
from auditflow.journal.memory import MemoryJournal
from auditflow.ledger import DeadLetter, Progress, Selection, Update
from auditflow.ledger import commands as commands_module
from auditflow.ledger.memory import MemoryLedger

EVENT = json.dumps({"eventType": "a", "sourceSystem": "b"}).encode()


def letter(pipeline: str, sequence: int, tenant: str) -> DeadLetter:
    return DeadLetter(pipeline, sequence, "Bad", "no", EVENT, last_failed=1_000, tenant=tenant)


@pytest.fixture
def ledger() -> MemoryLedger:
    """Give one with two events of acme, the first dead in two pipelines and the second in one that is gone."""
    ledger = MemoryLedger()
    ledger.register(["a", "b", "old"], 1, 1)
    letters = {
        "a": [letter("a", 1, "acme"), letter("a", 2, "globex"), letter("a", 5, "_platform")],
        "b": [letter("b", 1, "acme")],
        "old": [letter("old", 3, "acme")],
    }
    ledger.commit([Update(name, Progress(9), letters=those) for name, those in letters.items()])
    ledger.register(["a", "b"], 9, 1)
    return ledger


@pytest.fixture
def app(ledger, operating) -> Any:
    return app_over(ledger, operating, lambda: "")


def app_over(ledger, operating, check) -> Any:
    journal = MemoryJournal()
    return ingest_app.build(Publish(journal, Limits()), operating(journal, ledger), check, 2**16)


@pytest.mark.parametrize(("tenant", "events"), [("acme", 2), ("globex", 1), ("_platform", 1), ("nobody", 0)])
async def test_inspecting_counts_events_and_changes_nothing(client, app, tenant, events):
    async with client(app) as ask:
        for _ in range(2):
            answer = await ask.get(f"/actuator/dlq/{tenant}")
            assert answer.json() == {"tenantId": tenant, "messageCount": events, "status": "available"}


async def test_replay_is_of_one_tenant_and_says_what_stays(client, app, ledger, delivering):
    async with client(app) as ask, delivering(ledger):
        answer = await ask.post("/actuator/dlq/acme")
        assert (answer.status_code, answer.json()) == (
            200,
            {"status": "success", "tenantId": "acme", "retriedCount": 1, "requeuedCount": 1},
        )
        assert (await ask.get("/actuator/dlq/globex")).json()["messageCount"] == 1
    assert {one.target for one in ledger.dead_letters(Selection(tenant="acme"))} == {"a", "b", ""}


async def test_purge_is_of_one_tenant(client, app, ledger, delivering):
    async with client(app) as ask, delivering(ledger):
        answer = await ask.delete("/actuator/dlq/acme")
        assert answer.json() == {
            "status": "success", "tenantId": "acme", "purgedCount": 2, "requeuedCount": 0,
        }  # fmt: skip
    assert {one.tenant for one in ledger.dead_letters()} == {"globex", "_platform"}


@pytest.mark.parametrize("tenant", ["-", "a b", ".hidden", "x" * 65, "%0a", "_other"])
async def test_what_can_be_no_tenant_is_refused_by_name(client, app, tenant):
    async with client(app) as ask:
        answer = await ask.get(f"/actuator/dlq/{tenant}")
    assert (answer.status_code, answer.json()["code"]) == (400, "VALIDATION_ERROR")
    assert "tenantId" in answer.json()["message"]


async def test_without_the_delivery_process_the_answer_is_an_error_like_every_other(client, app, monkeypatch):
    monkeypatch.setattr(commands_module, "ANSWER_SECONDS", 0.05)
    async with client(app) as ask:
        for method in ("POST", "DELETE"):
            answer = await ask.request(method, "/actuator/dlq/acme")
            assert (answer.status_code, answer.json()["code"]) == (503, "DELIVERY_UNAVAILABLE")


async def test_health_is_up_or_says_why_not(client, app, ledger, operating):
    async with client(app) as ask:
        for path in ("health", "health/liveness", "health/readiness"):
            assert (await ask.get(f"/actuator/{path}")).json() == {"status": "UP"}
        assert (await ask.get("/actuator/info")).json()["name"] == "auditflow"
    async with client(app_over(ledger, operating, lambda: "the disk is full")) as ask:
        assert (await ask.get("/actuator/health/liveness")).json() == {"status": "UP"}
        for path in ("health", "health/readiness"):
            answer = await ask.get(f"/actuator/{path}")
            assert answer.status_code == 503
            assert answer.json() == {"status": "OUT_OF_SERVICE", "reason": "the disk is full"}


@pytest.mark.parametrize(
    "ask_for", [{"params": {"pipeline": "b"}}, {"json": {"pipeline": "b"}}, {"params": {"limit": 1}}]
)
async def test_only_what_is_chosen_is_purged(client, app, ledger, delivering, ask_for):
    async with client(app) as ask, delivering(ledger):
        answer = await ask.request("DELETE", "/actuator/dlq/acme", **ask_for)
    assert answer.status_code == 200
    left = [letter.pipeline for letter in ledger.dead_letters(Selection(tenant="acme"))]
    assert left == (["b", "old"] if ask_for.get("params") == {"limit": 1} else ["a", "old"])


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize(
    "ask_for",
    [
        {"params": {"pipelin": "b"}},
        {"json": {"pipelines": ["b"]}},
        {"params": {"limit": 0}},
        {"params": {"pipeline": ""}},
        {"json": []},
    ],
)
async def test_what_is_not_known_is_refused_and_nothing_is_done(client, app, ledger, method, ask_for):
    async with client(app) as ask:
        answer = await ask.request(method, "/actuator/dlq/acme", **ask_for)
    assert (answer.status_code, answer.json()["code"]) == (400, "VALIDATION_ERROR")
    assert len(ledger.dead_letters(Selection(tenant="acme"))) == 3


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/status?tenat=acme"),
        ("GET", "/api/v1/dead-letters?tenantId=acme"),
        ("DELETE", "/api/v1/dead-letters?all=true&pipelines=a"),
        ("POST", "/api/v1/pipelines/a/pause?for=1h"),
        ("POST", "/api/v1/reload?force=true"),
        ("POST", "/api/v1/dead-letters/replay?pipeline=a"),
    ],
)  # fmt: skip
async def test_every_operating_call_refuses_parameters_that_it_does_not_have(
    client, app, ledger, method, path
):
    async with client(app) as ask:
        answer = await ask.request(method, path, **({"json": {}} if method == "POST" else {}))
    assert (
        answer.status_code,
        "no such parameter" in answer.json()["message"] or "extra" in answer.json()["message"].lower(),
    ) == (400, True)
