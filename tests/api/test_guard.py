"""Which right each call needs, and what who lacks it is answered."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request

from auditflow.api import ingest_app, sink_service
from auditflow.api.guard import Guard, operating_rights
from auditflow.ingest.auth import ANYONE, AuthConfig, Authenticator
from auditflow.ingest.auth.keys import KeyFile
from auditflow.ingest.auth.web_pages import WebPages
from auditflow.ingest.limits import Limits
from auditflow.ingest.publish import Publish
from auditflow.journal.memory import MemoryJournal
from auditflow.ledger.memory import MemoryLedger
from auditflow.plugins import discover

EVENT = {"eventType": "auth.login", "sourceSystem": "web"}
EVENT_ID = "0190a0b0-0000-7000-8000-000000000000"
RIGHTS = ("write", "read", "operate")
PROBES = ("/live", "/ready", "/health", "/info", "/actuator/health", "/actuator/health/liveness",
          "/actuator/health/readiness", "/actuator/info")  # fmt: skip
CALLS = [
    ("POST", "/audit/publish", "write"),
    ("POST", "/api/v1/audit/publish", "write"),
    ("GET", "/api/v1/status", "read"),
    ("HEAD", "/api/v1/status", "read"),
    ("GET", "/metrics", "read"),
    ("GET", f"/api/v1/events/{EVENT_ID}", "read"),
    ("GET", "/api/v1/dead-letters", "read"),
    ("GET", "/api/v1/dead-letters/1", "read"),
    ("GET", "/openapi.json", "read"),
    ("GET", "/docs", "read"),
    ("GET", "/", "read"),
    ("GET", "//live", "read"),
    ("GET", "/nothing", "read"),
    ("GET", "/actuator", "operate"),
    ("GET", "/actuator/env", "operate"),
    ("GET", "/actuator/dlq/acme", "operate"),
    ("POST", "/actuator/dlq/acme", "operate"),
    ("DELETE", "/actuator/dlq/acme", "operate"),
    ("POST", "/api/v1/pipelines/p/pause", "operate"),
    ("POST", "/api/v1/pipelines/p/resume", "operate"),
    ("POST", "/api/v1/pipelines/p/forget", "operate"),
    ("POST", "/api/v1/dead-letters/replay", "operate"),
    ("POST", "/api/v1/dead-letters/1/replay", "operate"),
    ("DELETE", "/api/v1/dead-letters", "operate"),
    ("POST", "/api/v1/replay", "operate"),
    ("POST", "/api/v1/reload", "operate"),
    ("PUT", "/api/v1/status", "operate"),
]


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys.json")


@pytest.fixture
def keys(file: KeyFile) -> dict[str, str]:
    """Give one key for each right."""
    return {right: file.create(right, None, [f"audit-event:{right}"])[1] for right in RIGHTS}


@pytest.fixture
def authenticator(file: KeyFile) -> Authenticator:
    return Authenticator(AuthConfig.model_validate({"api-keys": {}}), file.path)


@pytest.fixture
def app(operating: Any, authenticator: Authenticator) -> Any:
    journal, ledger = MemoryJournal(), MemoryLedger()
    publish = Publish(journal, Limits())
    return ingest_app.build(publish, operating(journal, ledger), publish.unavailable, 2**20, authenticator)


@pytest.mark.parametrize("call", CALLS, ids=str)
async def test_a_call_needs_its_right_and_no_other_will_do(client, app, keys, call):
    method, path, right = call
    async with client(app) as ask:
        assert (await ask.request(method, path)).status_code == 401
        for other in keys.keys() - {right}:
            answer = await ask.request(method, path, headers={"Authorization": f"Bearer {keys[other]}"})
            assert answer.status_code == 403, f"{other} may {method} {path}"
            assert f'scope="audit-event:{right}"' in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize("call", [call for call in CALLS if call[0] in {"GET", "HEAD"}], ids=str)
async def test_who_has_the_right_gets_through(client, app, keys, call):
    method, path, right = call
    async with client(app) as ask:
        answer = await ask.request(method, path, headers={"X-Api-Key": keys[right]})
    assert answer.status_code not in {401, 403}


def test_every_call_that_is_documented_is_tried_here_and_says_that_it_may_refuse(operating):
    document = ingest_app.operations(operating(MemoryJournal(), MemoryLedger()), str).openapi()
    tried = {(method, path) for method, path, _ in CALLS}
    examples = {"{number}": "1", "{name}": "p", "{event_id}": EVENT_ID, "{tenantId}": "acme"}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if path in PROBES:
                assert "security" not in operation
            else:
                assert {"401", "403"} <= operation["responses"].keys()
                example = re.sub(r"\{\w+\}", lambda found: examples[found[0]], path)
                assert (method.upper(), example) in tried


@pytest.mark.parametrize("path", PROBES)
async def test_probes_are_open_to_those_who_watch(client, app, path):
    async with client(app) as ask:
        assert (await ask.get(path)).status_code == 200


async def test_a_refusal_has_the_shape_of_every_error_and_says_how_to_get_in(client, app):
    async with client(app) as ask:
        status = (await ask.get("/api/v1/status", headers={"X-Correlation-ID": "c-1"})).json()
        publish = (await ask.post("/audit/publish", json=EVENT)).json()
    assert (status["code"], status["traceId"]) == ("UNAUTHORIZED", "c-1")
    assert "auditflow keys create" in status["hint"]
    assert publish.keys() == {"code", "message", "timestamp", "traceId"}


async def test_a_published_event_is_accepted_with_the_right(client, app, keys):
    async with client(app) as ask:
        answer = await ask.post(
            "/audit/publish", json=EVENT, headers={"Authorization": f"Bearer {keys['write']}"}
        )
    assert answer.status_code == 200


@pytest.mark.parametrize("tenant", ["acme", None])
async def test_handlers_are_told_who_calls(client, authenticator, file, tenant):
    inner = FastAPI()

    @inner.get("/who")
    def who(request: Request) -> dict[str, Any]:
        principal = request.state.principal
        return {"name": principal.name, "tenant": principal.tenant}

    _, key = file.create("web", tenant, ["audit-event:read"])
    async with client(Guard(inner, authenticator, operating_rights)) as ask:
        answer = await ask.get("/who", headers={"X-Api-Key": key})
    assert answer.json() == {"name": "web", "tenant": tenant}
    async with client(Guard(inner, None, operating_rights)) as ask:
        assert (await ask.get("/who")).json() == {"name": ANYONE.name, "tenant": None}


async def test_the_sink_service_is_for_operators_whole(client, authenticator, keys):
    service = sink_service.SinkService(discover(), sink_service.OpenSinks())
    app = sink_service.build(service, lambda: "", 2**20, authenticator)
    body = {"event_data": EVENT}
    async with client(app) as ask:
        for method, path in (
            ("GET", "/registry"),
            ("POST", "/sink/logging_sink"),
            ("POST", "/transform/zero"),
        ):
            assert (await ask.request(method, path, json=body)).status_code == 401
            for right in RIGHTS:
                answer = await ask.request(method, path, json=body, headers={"X-Api-Key": keys[right]})
                assert answer.status_code == (200 if right == "operate" else 403)
        assert (await ask.get("/live")).status_code == 200


async def test_the_page_of_calls_lists_them_all_and_loads_nothing(client, app, keys):
    async with client(app) as ask:
        answer = await ask.get("/docs", headers={"X-Api-Key": keys["read"]})
    assert answer.headers["content-type"].startswith("text/html")
    for _, path, right in CALLS:
        if right == "write" or path in {"/metrics", "/api/v1/status", "/api/v1/reload"}:
            assert path in answer.text
    for tag in ("<script", "<link", "<img", "<style", "://"):
        assert tag not in answer.text


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call[0]} {call[1]}")
async def test_no_other_origin_may_read_an_answer(client, app, keys, call):
    asked = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": call[0]}
    async with client(app) as ask:
        answers = [
            await ask.request(method, call[1], headers=asked | {"X-Api-Key": key})
            for method in (call[0], "OPTIONS")
            for key in keys.values()
        ]
    assert not [name for answer in answers for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "name",
    ["X-Auth-Tenant", "X-Auth-Scopes", "X-Auth-Subject", "X-Auth-Secret", "Authorization", "X-Api-Key"],
)
async def test_a_header_that_says_who_calls_counts_once(client, operating, file, name):
    config = {"api-keys": {}, "gateway": {"addresses": ["127.0.0.1"]}}
    authenticator = Authenticator(AuthConfig.model_validate(config), file.path)
    app = Guard(FastAPI(), authenticator, operating_rights)
    said = [("X-Auth-Tenant", "acme"), ("X-Auth-Scopes", "audit-event:read")]
    async with client(app) as ask:
        assert (
            await ask.get("/api/v1/status", headers=said)
        ).status_code == 404  # let in, and there is nothing
        answer = await ask.get("/api/v1/status", headers=[*said, (name, "a"), (name, "a")])
    assert answer.status_code == 401
    assert "repeated" in answer.json()["message"]


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}],
    ids=str,
)
@pytest.mark.parametrize("call", [call for call in CALLS if call[0] not in {"GET", "HEAD"}], ids=str)
async def test_a_web_page_operates_nothing_where_anyone_may_call(client, operating, headers, call):
    journal, ledger = MemoryJournal(), MemoryLedger()
    publish = Publish(journal, Limits())
    pages = WebPages([])
    app = ingest_app.build(publish, operating(journal, ledger), publish.unavailable, 2**20, None, pages)
    method, path, _ = call
    async with client(app) as ask:
        answer = await ask.request(method, path, headers={"Host": "localhost:8080"} | headers, json=EVENT)
        assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")
    assert journal.head() == MemoryJournal().head()


async def test_the_sink_service_acts_for_no_tenant_forges_nothing_and_is_on_record(
    client, authenticator, file
):
    on_record: list[tuple[object, object]] = []
    service = sink_service.SinkService(
        discover(), sink_service.OpenSinks(), lambda by, facts: on_record.append((dict(by), dict(facts)))
    )
    app = sink_service.build(service, lambda: "", 2**20, authenticator)
    keys = {
        tenant: file.create("ops", tenant, ["audit-event:operate"])[1]
        for tenant in ("acme", "_platform", None)
    }
    own = {"eventType": "auditflow.keys.created", "sourceSystem": "auditflow"}

    async def call(tenant: str | None, event: dict[str, str]) -> int:
        async with client(app) as ask:
            headers = {"X-Api-Key": keys[tenant]}
            answer = await ask.post("/sink/logging_sink", json={"event_data": event}, headers=headers)
        return answer.status_code

    assert await call("acme", EVENT) == 403
    assert await call("_platform", EVENT) == await call(None, EVENT) == 200
    for forged in (own, own | {"sourceSystem": "x"}, own | {"eventType": "x"}):
        assert await call(None, forged) == 403
    assert [(by["actorTenant"], facts["outcome"]) for by, facts in on_record] == [
        ("acme", "refused"), ("_platform", "success"), (None, "success"), *[(None, "refused")] * 3,
    ]  # fmt: skip
    assert {(facts["sink"], facts["count"]) for _, facts in on_record} == {("logging_sink", 1)}
    assert on_record[0][1]["reason"] == "FORBIDDEN"
