"""A caller with a tenant sees and operates its own; what others have looks to it like what is not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from auditflow.api import ingest_app
from auditflow.ingest.auth import AuthConfig, Authenticator
from auditflow.ingest.auth.keys import KeyFile
from auditflow.ingest.limits import Limits
from auditflow.ingest.publish import Publish
from auditflow.journal.memory import MemoryJournal
from auditflow.ledger import DeadLetter, Progress, Selection, Update
from auditflow.ledger.memory import MemoryLedger

SCOPES = [f"audit-event:{right}" for right in ("read", "operate", "write")]
OURS, THEIRS = (f"0190a0b0-0000-7000-8000-00000000000{n}" for n in (1, 2))
NOTHING = "0190a0b0-0000-7000-8000-000000000009"


def letter(pipeline: str, sequence: int) -> DeadLetter:
    tenant = pipeline.rpartition("/")[0] or "_platform"
    event = json.dumps({"eventType": "a", "sourceSystem": "b", "tenantId": tenant}).encode()
    return DeadLetter(pipeline, sequence, "Bad", "no", event, last_failed=1, tenant=tenant, event_id=OURS)


@pytest.fixture
def ledger() -> MemoryLedger:
    ledger = MemoryLedger()
    names = ["acme/p", "globex/p", "main"]
    ledger.register(names, 1, 1)
    ledger.commit(
        [Update(name, Progress(2), letters=[letter(name, number)]) for number, name in enumerate(names, 1)]
    )
    return ledger


@pytest.fixture
def asking(ledger, operating, client, tmp_path: Path) -> Any:
    """Give a function that makes a client with the key of a tenant."""
    file, journal = KeyFile(tmp_path / "keys.json"), MemoryJournal()
    authenticator = Authenticator(AuthConfig.model_validate({"api-keys": {}}), file.path)
    publish = Publish(journal, Limits())
    app = ingest_app.build(publish, operating(journal, ledger), lambda: "", 2**16, authenticator)
    keys = {tenant: file.create("ops", tenant, SCOPES)[1] for tenant in ("acme", "globex", "_platform", None)}

    def asking(tenant: str | None) -> httpx2.AsyncClient:
        ask = client(app)
        ask.headers["X-Api-Key"] = keys[tenant]
        return ask

    return asking


def ids(answer: httpx2.Response) -> list[int]:
    return [one["id"] for one in answer.json()["letters"]]


def told(answer: httpx2.Response, *names: str) -> tuple[int, str]:
    """Give what an answer says, with what was asked for and what differs from call to call left out."""
    body = answer.json()
    for name in names:
        body["message"] = body["message"].replace(name, "…")
    return answer.status_code, body["message"]


async def test_dead_letters_are_those_of_the_caller_s_tenant(asking):
    async with asking("acme") as ask:
        answer = await ask.get("/api/v1/dead-letters")
        assert ids(answer) == [1]
        assert [group["pipeline"] for group in answer.json()["groups"]] == ["acme/p"]
        assert ids(await ask.get("/api/v1/dead-letters?tenant=acme")) == [1]
        assert ids(await ask.get("/api/v1/dead-letters?ids=1&ids=2&ids=3")) == [1]
        assert (await ask.get("/api/v1/dead-letters/1")).status_code == 200
    async with asking("_platform") as ask:
        assert ids(await ask.get("/api/v1/dead-letters")) == [3]
    async with asking(None) as ask:
        assert ids(await ask.get("/api/v1/dead-letters")) == [1, 2, 3]
        assert ids(await ask.get("/api/v1/dead-letters?tenant=globex")) == [2]


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (("GET", "/api/v1/dead-letters/%s", None), ("2", "99")),
        (("POST", "/api/v1/dead-letters/%s/replay", {}), ("2", "99")),
        (("POST", "/api/v1/dead-letters/1/replay", {"to": "%s"}), ("globex/p", "nobody/p")),
        (("POST", "/api/v1/dead-letters/replay", {"to": "%s"}), ("globex/p", "nobody/p")),
        (("POST", "/api/v1/dead-letters/replay", {"to": "%s"}), ("main", "nope")),
        (("POST", "/api/v1/dead-letters/replay", {"pipeline": "%s"}), ("globex/p", "nobody/p")),
        (("POST", "/api/v1/dead-letters/replay", {"tenant": "%s"}), ("globex", "nobody")),
        (("GET", "/api/v1/dead-letters?tenant=%s", None), ("globex", "nobody")),
        (("DELETE", "/api/v1/dead-letters?all=true&tenant=%s", None), ("globex", "nobody")),
        (("GET", "/api/v1/events/%s", None), (THEIRS, NOTHING)),
        (("GET", f"/api/v1/events/{OURS}?tenant=%s", None), ("globex", "nobody")),
        (("POST", "/api/v1/pipelines/%s/pause", None), ("main", "nope")),
        (("POST", "/api/v1/pipelines/%s/resume", None), ("main", "nope")),
        (("POST", "/api/v1/replay", {"pipeline": "%s", "since": "2026-01-01T00:00:00Z"}), ("globex/p", "nobody/p")),
        (("GET", "/actuator/dlq/%s", None), ("globex", "nobody")),
        (("POST", "/actuator/dlq/%s", None), ("_platform", "nobody")),
        (("DELETE", "/actuator/dlq/%s", None), ("globex", "nobody")),
    ],
)  # fmt: skip
async def test_what_is_another_s_is_answered_as_if_it_were_not_there(asking, delivering, ledger, call, names):
    """`names` are another's, and one that nothing has."""
    (method, path, body), answers = call, []
    async with asking("globex") as ask:
        event = {"eventType": "a", "sourceSystem": "b", "eventId": THEIRS}
        assert (await ask.post("/audit/publish", json=event)).status_code == 200
    async with asking("acme") as ask, delivering(ledger):
        for name in names:
            text = None if body is None else json.dumps(body).replace("%s", name)
            answer = await ask.request(
                method, path.replace("%s", name), content=text, headers={"Content-Type": "application/json"}
            )
            answers.append(told(answer, name))
    assert answers[0] == answers[1]
    assert answers[0][0] in {403, 404}
    assert len(ledger.dead_letters()) == 3
    assert not [one for one in ledger.dead_letters() if one.target]
    assert not [account for account in ledger.accounts() if account.paused]


async def test_replay_and_purge_without_a_filter_are_of_the_own_letters(asking, delivering, ledger):
    async with asking("acme") as ask, delivering(ledger):
        assert (await ask.post("/api/v1/dead-letters/replay", json={})).json() == {"replayed": 1}
    assert [one.tenant for one in ledger.dead_letters() if one.target] == ["acme"]
    async with asking("globex") as ask, delivering(ledger):
        refused = await ask.delete("/api/v1/dead-letters")
        assert refused.status_code == 400
        assert (await ask.delete("/api/v1/dead-letters?all=true")).json() == {"purged": 1}
    assert [one.tenant for one in ledger.dead_letters(Selection())] == ["acme", "_platform"]


async def test_an_event_is_found_by_its_tenant_and_by_who_acts_for_all(asking):
    async with asking("globex") as ask:
        event = {"eventType": "a", "sourceSystem": "b", "eventId": THEIRS}
        assert (await ask.post("/audit/publish", json=event)).status_code == 200
        assert (await ask.get(f"/api/v1/events/{THEIRS}")).json()["tenant"] == "globex"
    async with asking(None) as ask:
        assert (await ask.get(f"/api/v1/events/{THEIRS}")).json()["tenant"] == "globex"


async def test_what_concerns_the_whole_installation_is_for_those_who_run_it(asking, delivering, ledger):
    async with asking("acme") as ask:
        assert (await ask.get("/metrics")).status_code == 403
        assert (await ask.post("/api/v1/reload")).status_code == 403
        assert (await ask.get("/api/v1/status")).json().keys() == {"pipelines"}
    for tenant in ("_platform", None):
        async with asking(tenant) as ask, delivering(ledger):
            assert (await ask.get("/metrics")).status_code == 200
            assert (await ask.post("/api/v1/reload")).status_code == 200
            assert (await ask.get("/api/v1/status")).json().keys() > {"pipelines", "journal"}


@pytest.mark.parametrize(("tenant", "told"), [("acme", False), ("_platform", True), (None, True)])
async def test_a_tenant_is_not_told_the_numbers_that_count_everybodys_events(asking, tenant, told):
    async with asking(tenant) as ask:
        letters = (await ask.get("/api/v1/dead-letters")).json()["letters"]
        one = (await ask.get(f"/api/v1/dead-letters/{letters[0]['id']}")).json()
    assert letters
    assert {row["sequence"] is not None for row in [*letters, one]} == {told}
