"""Pausing and resuming over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from auditflow.api import ingest_app
from auditflow.ingest.limits import Limits
from auditflow.ingest.publish import Publish
from auditflow.journal.memory import MemoryJournal
from auditflow.ledger.memory import MemoryLedger


@pytest.fixture
def ledger() -> MemoryLedger:
    ledger = MemoryLedger()
    ledger.register(["a", "b c"], 1, 1)
    return ledger


@pytest.fixture
def app(ledger, operating) -> Any:
    journal = MemoryJournal()
    publish = Publish(journal, Limits())
    return ingest_app.build(publish, operating(journal, ledger), publish.unavailable, 2**16)


async def states(ask: Any) -> dict[str, str]:
    status = (await ask.get("/api/v1/status")).json()
    return {row["name"]: row["state"] for row in status["pipelines"]}


async def test_a_paused_pipeline_says_so_until_it_is_resumed(client, app, ledger, delivering):
    async with client(app) as ask, delivering(ledger):
        answer = await ask.post("/api/v1/pipelines/a/pause")
        assert (answer.status_code, answer.json()) == (200, {"pipeline": "a", "paused": True})
        assert await states(ask) == {"a": "paused", "b c": "active"}
        await ask.post("/api/v1/pipelines/b%20c/pause")
        await ask.post("/api/v1/pipelines/a/resume")
        assert await states(ask) == {"a": "active", "b c": "paused"}


@pytest.mark.parametrize("action", ["pause", "resume"])
async def test_an_unknown_pipeline_is_refused_with_those_that_run(client, app, ledger, delivering, action):
    async with client(app) as ask, delivering(ledger):
        answer = await ask.post(f"/api/v1/pipelines/nobody/{action}")
    assert answer.status_code == 404
    assert "'nobody'" in answer.json()["message"]
    assert "a, b c" in answer.json()["message"]
