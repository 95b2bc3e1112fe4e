from typing import Any

import pytest
from openapi_spec_validator import validate

from auditflow.api import ingest_app
from auditflow.ingest.limits import Limits
from auditflow.ingest.publish import PATHS, Publish
from auditflow.journal.memory import MemoryJournal
from auditflow.ledger.memory import MemoryLedger

EVENT = {"eventType": "auth.login", "sourceSystem": "web"}


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal()


@pytest.fixture
def app(journal: MemoryJournal, operating: Any) -> Any:
    ledger = MemoryLedger()
    ledger.register(["everything"], journal.head(), journal.oldest())
    publish = Publish(journal, Limits())
    return ingest_app.build(publish, operating(journal, ledger), publish.unavailable, 2**20)


async def test_what_is_published_at_either_path_is_in_the_status(client, app):
    async with client(app) as ask:
        for path in PATHS:
            assert (await ask.post(path, json=EVENT)).status_code == 200
        status = (await ask.get("/api/v1/status")).json()
    assert status.keys() == {"pipelines", "journal", "configuration", "tenants", "redaction"}
    assert status["tenants"] is None
    assert status["journal"].keys() == {"head", "oldest", "bytes", "incidents"}
    (row,) = status["pipelines"]
    age = row.pop("oldestPendingAgeSeconds")
    assert 0 <= age < 60
    assert row == {
        "name": "everything",
        "tenant": "_platform",
        "state": "active",
        "since": None,
        "breaker": "closed",
        "accepted": 2,
        "delivered": 0,
        "filtered": 0,
        "deadLettered": 0,
        "pending": 2,
        "replaying": 0,
        "backfilling": 0,
        "attempts": 0,
        "possibleDuplicates": 0,
        "lastError": None,
        "warning": None,
    }


async def test_metrics_hold_those_of_publishing_and_those_of_pipelines(client, app):
    async with client(app) as ask:
        await ask.post("/audit/publish", json=EVENT)
        answer = await ask.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'auditflow_ingest_events_total{outcome="accepted"}' in answer.text
    assert 'auditflow_pipeline_pending{pipeline="everything"} 1.0' in answer.text


async def test_it_is_not_ready_while_the_journal_takes_no_events(client, app, journal):
    async with client(app) as ask:
        assert (await ask.get("/ready")).status_code == 200
        journal.close()
        refused = await ask.post("/audit/publish", json=EVENT)
        assert (refused.status_code, refused.json()["code"]) == (503, "PUBLISH_FAILED")
        assert int(refused.headers["retry-after"]) > 0
        ready = await ask.get("/ready")
    assert (ready.status_code, ready.json()["status"]) == (503, "not ready")
    assert "it has been closed" in ready.json()["reason"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/audit/publish", 405), ("GET", "/audit/publish/", 405), ("POST", "/metrics", 405)],
)
async def test_a_wrong_call_is_answered_in_the_same_shape_by_both_halves(client, app, method, path, status):
    async with client(app) as ask:
        answer = await ask.request(method, path, headers={"X-Correlation-ID": "abc"})
    assert answer.status_code == status
    assert answer.json().keys() == {"code", "message", "timestamp", "traceId"}
    assert answer.headers["x-correlation-id"] == answer.json()["traceId"] == "abc"
    assert ("allow" in answer.headers) == (status == 405)


async def test_the_openapi_document_is_valid_and_describes_publishing(client, app):
    async with client(app) as ask:
        await ask.get("/openapi.json")
        document = (await ask.get("/openapi.json")).json()
        assert (await ask.get("/docs")).status_code == 200
        root = await ask.get("/")
    assert (root.status_code, "/docs" in root.text) == (200, True)
    validate(document)
    for path in PATHS:
        operation = document["paths"][path]["post"]
        assert {"200", "400", "409", "413", "415", "503"} <= operation["responses"].keys()
        assert operation["requestBody"]["content"].keys() >= {"application/json", "application/x-ndjson"}
    assert {"/api/v1/status", "/metrics", "/live", "/ready"} <= document["paths"].keys()
