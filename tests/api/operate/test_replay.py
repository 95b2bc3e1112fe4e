"""A replay from the journal over HTTP: how many, from when, to whom; what makes no sense is refused."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import pytest

from auditflow.api import ingest_app
from auditflow.api.operate import replay as module
from auditflow.config import PipelineConfig, Running
from auditflow.ingest.limits import Limits
from auditflow.ingest.publish import Publish
from auditflow.journal import AppendBatch
from auditflow.journal.memory import MemoryJournal
from auditflow.ledger.memory import MemoryLedger

EVEN = {"rules": [{"field": "n", "operator": "in", "value": [0, 2, 4, 6, 8]}]}
AT = "2027-01-15T08:00:00Z"
"""When the journal's clock begins: second 1,800,000,000."""


@pytest.fixture
async def journal() -> MemoryJournal:
    now = iter(range(1_800_000_000, 2_000_000_000, 60))
    journal = MemoryJournal(clock=lambda: next(now))
    for n in range(10):
        event_id = str(uuid.uuid4())
        await journal.append(
            AppendBatch([b'{"n":%d,"eventId":"%s"}' % (n, event_id.encode())], [event_id], [""])
        )
    return journal


@pytest.fixture
def app(journal, operating) -> Any:
    ledger = MemoryLedger()
    ledger.register(["even", "all"], 1, 1)
    sink = {"name": "logging_sink"}
    base = operating(journal, ledger)
    base.where.pipelines = lambda: {
        each["name"]: Running(each["name"], "", PipelineConfig.model_validate(each))
        for each in ({"name": "even", "condition": EVEN, "sink": sink}, {"name": "all", "sink": sink})
    }
    publish = Publish(journal, Limits())
    return ingest_app.build(publish, replace(base), publish.unavailable, 2**16)


@pytest.mark.parametrize(
    ("order", "found"),
    [
        ({"pipeline": "all", "since": AT}, (10, 10, 10)),
        ({"pipeline": "even", "since": AT}, (10, 10, 5)),
        ({"pipeline": "even", "since": "2027-01-15T08:03:00Z", "until": "2027-01-15T08:06:00Z"}, (3, 3, 1)),
        (
            {"pipeline": "all", "since": "2027-01-15T10:03:00+02:00", "until": "2027-01-15T08:06:00Z"},
            (3, 3, 3),
        ),
    ],
)
async def test_a_dry_run_says_how_many_there_are_and_how_many_the_pipeline_takes(client, app, order, found):
    until = {"until": "2028-01-01T00:00:00Z"} | order
    async with client(app) as ask:
        answer = (await ask.post("/api/v1/replay", json=until | {"dryRun": True})).json()
    assert (answer["events"], answer["looked"], answer["matching"]) == found


async def test_a_dry_run_stops_looking_in_time_and_says_how_far_it_came(client, app, monkeypatch):
    monkeypatch.setattr(module, "COUNT_SECONDS", -1.0)
    order = {"pipeline": "even", "since": AT, "until": "2028-01-01T00:00:00Z", "dryRun": True}
    async with client(app) as ask:
        answer = (await ask.post("/api/v1/replay", json=order)).json()
    assert (answer["events"], answer["looked"], answer["matching"]) == (10, 0, 0)


@pytest.mark.parametrize(
    ("order", "status", "said"),
    [
        ({"pipeline": "nobody", "since": AT}, 404, "those that do: even, all"),
        ({"pipeline": "off", "since": AT}, 404, "No pipeline named 'off' runs"),
        ({"pipeline": "all", "since": AT, "until": AT}, 400, "until: it has to be after since"),
        ({"pipeline": "all", "since": "2026-01-01T00:00:00Z", "until": "2026-02-01T00:00:00Z"}, 409, AT[:19]),
        ({"pipeline": "all"}, 400, "since"),
        ({"pipeline": "", "since": AT}, 400, "pipeline"),
        ({"pipeline": "all", "since": "yesterday"}, 400, "since"),
        ({"pipeline": "all", "since": "2027-01-15T08:00:00"}, 400, "since"),
        ({"pipeline": "all", "since": AT, "to": "x"}, 400, "to"),
    ],
)
async def test_what_makes_no_sense_is_refused(client, app, order, status, said):
    async with client(app) as ask:
        answer = await ask.post("/api/v1/replay", json={"until": "2028-01-01T00:00:00Z"} | order)
    assert (answer.status_code, said in answer.json()["message"]) == (status, True), answer.text
