"""The public contract that the original AuditFlow's clients and suites rely on, against a real `auditflow serve`.

With tokens of an identity provider, several tenants, webhooks as destinations, and a delivery that gives up as the
original's does.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from auditflow.pipelines.decide.operators import OPERATORS
from auditflow.testing.identity_provider import IdentityProvider

from .conftest import Serve, wait_for

pytestmark = pytest.mark.timeout(180)

WRITE, READ, OPERATE = (f"audit-event:{right}" for right in ("write", "read", "operate"))
EVENT = {"eventType": "order.paid", "sourceSystem": "shop"}

MAIN = {
    "tenants": {"directory": "tenants"},
    "delivery": {"max-attempts": 3, "when-blocked": "dead-letter"},
    "redaction": {
        "rules": [
            {"field": "extra.email", "strategy": "mask"},
            {"field": "extra.items[0].card", "strategy": "drop"},
            {"field": "extra.user", "action": "hash"},
        ],
        "key": "a key for these tests only",
    },
}

RULES = {
    "eq": ("42", "42.0"),
    "neq": ("41", "42"),
    "contains": ("uth.log", "AUTH"),
    "not_contains": ("AUTH", "auth"),
    "startsWith": ("auth.", "login"),
    "endsWith": (".login", "auth."),
    "in": ("a, auth.login ,b", "a, auth"),
    "notIn": ("a, auth", "auth.login"),
    "exists": (None, None),
    "notExists": (None, None),
    "regex": (r"auth\.\w+", "auth"),
    "gt": ("9", "42"),
    "gte": ("42", "43"),
    "lt": ("100", "42"),
    "lte": ("42", "9"),
    "eqIgnoreCase": ("AUTH.Login", "login"),
}
"""Of each operator: a value with which the rule holds for the event below, and one with which it does not."""
NUMERIC = {"eq", "neq", "gt", "gte", "lt", "lte"}


class Receiver:
    """Webhooks: keeps what arrives by path, and refuses what comes to `failing` paths."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.failing: set[str] = set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((self.path, json.loads(body), dict(self.headers)))
                self.send_response(500 if self.path in receiver.failing else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True

    def pipeline(self, path: str, rules: list[dict[str, Any]] | None = None, **more: Any) -> dict[str, Any]:
        """Describe a pipeline that posts to a path, and is called after it."""
        properties = {"webhook-url": f"http://127.0.0.1:{self.http.server_port}{path}"} | more
        condition = {"condition": {"match": "all", "rules": rules}} if rules else {}
        sink = {"name": "webhook_sink", "properties": properties}
        return {"name": path.strip("/").replace("/", "-"), "enabled": True, "sink": sink} | condition

    def at(self, path: str) -> list[dict[str, Any]]:
        return [event for where, event, _ in self.got if where == path]


def rule(operator: str, spelt: str, *, holds: bool) -> dict[str, Any]:
    value = RULES[operator][0 if holds else 1]
    if value is None:
        there = (operator == "exists") == holds
        return {"field": "eventType" if there else "extra.nothing", "operator": spelt}
    return {"field": "extra.n" if operator in NUMERIC else "eventType", "operator": spelt, "value": value}


def spellings() -> list[tuple[str, str]]:
    named = [(name, spelt) for name in RULES for spelt in (name, *OPERATORS[name].aliases)]
    return [(name, spelt) for name, plain in named for spelt in (plain, plain.upper())]


def operator_pipelines(receiver: Receiver) -> list[dict[str, Any]]:
    return [
        receiver.pipeline(f"/{'yes' if holds else 'no'}/{spelt}", [rule(name, spelt, holds=holds)])
        for name, spelt in spellings()
        for holds in (True, False)
    ]


def tenants(receiver: Receiver) -> dict[str, dict[str, Any]]:
    paid = [{"field": "eventType", "operator": "eq", "value": "order.paid"}]
    token = "Bearer ${secretRef:hook_token}"
    return {
        "acme": {"pipelines": [receiver.pipeline("/acme")]},
        "globex": {"pipelines": [receiver.pipeline("/globex")]},
        "off": {"enabled": False},
        "router": {
            "pipelines": [
                receiver.pipeline("/paid/one", paid),
                receiver.pipeline("/paid/two", paid),
                receiver.pipeline("/other", [{"field": "eventType", "operator": "neq", "value": "order.paid"}]),
            ]
        },
        "operators": {"pipelines": operator_pipelines(receiver)},
        "failing": {"pipelines": [receiver.pipeline("/failing/one"), receiver.pipeline("/failing/two")]},
        "doomed": {"pipelines": [receiver.pipeline("/doomed")]},
        "limited": {"quota": {"rateLimitPerSec": 2, "burst": 4}, "pipelines": [receiver.pipeline("/limited")]},
        "secret": {"pipelines": [receiver.pipeline("/secret", headers={"Authorization": token})]},
        "secretless": {"pipelines": [receiver.pipeline("/secretless", headers={"Authorization": token})]},
    }  # fmt: skip


class Installation:
    """A running server, its identity provider, and its destinations."""

    def __init__(self, serve: Serve, provider: IdentityProvider, receiver: Receiver) -> None:
        self.serve, self.provider, self.receiver = serve, provider, receiver

    def call(
        self, method: str, path: str, tenant: str | None, scope: str = "", **options: Any
    ) -> httpx2.Response:
        """Call with a token of a tenant, or without one."""
        headers = dict(options.pop("headers", {}))
        if tenant is not None:
            headers["Authorization"] = f"Bearer {self.provider.token(tenant=tenant, scope=scope)}"
        return httpx2.request(method, self.serve.url + path, headers=headers, timeout=30, **options)

    def publish(self, tenant: str, event: dict[str, Any] = EVENT, **options: Any) -> httpx2.Response:
        return self.call("POST", "/audit/publish", tenant, WRITE, json=event, **options)

    def dlq(self, tenant: str, method: str = "GET") -> dict[str, Any]:
        answer = self.call(method, f"/actuator/dlq/{tenant}", tenant, OPERATE)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def dead(self, tenant: str) -> int:
        return int(self.dlq(tenant)["messageCount"])

    def settled(self, tenant: str) -> list[dict[str, Any]]:
        """Wait until a tenant's events have all come to an end; give the rows of its pipelines."""
        rows: list[dict[str, Any]] = []

        def ended() -> bool:
            rows[:] = self.call("GET", "/api/v1/status", tenant, READ).json()["pipelines"]
            return not any(row["pending"] for row in rows)

        wait_for(ended, 120, f"the events of {tenant}")
        return rows


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder: Path = tmp_path_factory.mktemp("original")
    receiver = Receiver()
    threading.Thread(target=receiver.http.serve_forever, args=(0.01,), daemon=True).start()
    (folder / "tenants").mkdir()
    for name, tenant in tenants(receiver).items():
        (folder / "tenants" / f"{name}.yaml").write_text(
            json.dumps({"tenantId": name, "enabled": True} | tenant)
        )
    with IdentityProvider() as provider:
        config = MAIN | {
            "auth": {"jwt": provider.settings},
            "pipelines": [receiver.pipeline("/platform")],
        }
        secret = {"AUDITFLOW_TENANT_SECRET_HOOK_TOKEN": "of-secret-alone"}
        serve = Serve(folder, json.dumps(config), secret, ()).start()
        yield Installation(serve, provider, receiver)
        serve.stop()
    receiver.http.shutdown()
    receiver.http.server_close()


def test_one_event_is_published_as_ever(original):
    event_id = str(uuid4())
    answer = original.publish(
        "acme",
        EVENT | {"eventId": event_id, "timestamp": "1999-01-01T00:00:00Z"},
        headers={"X-Correlation-ID": "order-17"},
    )
    assert answer.status_code == 200
    assert answer.json()["eventId"] == answer.headers["X-Audit-Event-Id"] == event_id
    assert answer.json()["timestamp"] == answer.headers["X-Audit-Received-At"]
    assert datetime.fromisoformat(answer.headers["X-Audit-Received-At"]).year > 2000
    assert answer.headers["X-Correlation-ID"] == "order-17"
    wait_for(lambda: original.receiver.at("/acme"), what="the event")
    (delivered,) = original.receiver.at("/acme")
    assert (delivered["eventId"], delivered["correlationId"], delivered["tenantId"]) == (
        event_id,
        "order-17",
        "acme",
    )
    assert delivered["timestamp"] == answer.headers["X-Audit-Received-At"]
    assigned = original.publish("acme").headers
    assert re.fullmatch(r"[0-9a-f-]{36}", assigned["X-Audit-Event-Id"])
    assert re.fullmatch(r"[0-9a-f-]{36}", assigned["X-Correlation-ID"])


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"json": {"sourceSystem": "s"}}, 400, "VALIDATION_ERROR"),
        ({"json": EVENT | {"eventId": "seven"}}, 400, "VALIDATION_ERROR"),
        ({"json": EVENT | {"correlationId": "c" * 65}}, 400, "VALIDATION_ERROR"),
        ({"json": EVENT | {"tenantId": "a/b"}}, 400, "VALIDATION_ERROR"),
        ({"json": EVENT | {"geolocation": {"lat": 91}}}, 400, "VALIDATION_ERROR"),
        ({"json": EVENT | {"extra": {str(n): n for n in range(65)}}}, 400, "VALIDATION_ERROR"),
        ({"content": "{", "headers": {"Content-Type": "application/json"}}, 400, "VALIDATION_ERROR"),
        ({"content": "x", "headers": {"Content-Type": "text/plain"}}, 415, "VALIDATION_ERROR"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_invalid_is_refused_with_the_four_members_of_the_contract(original, options, status, code):
    answer = original.call("POST", "/audit/publish", "acme", WRITE, **options)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json().keys() == {"code", "message", "timestamp", "traceId"}
    assert answer.json()["traceId"] == answer.headers["X-Correlation-ID"]
    assert original.call("PUT", "/audit/publish", "acme", WRITE).status_code == 405


def test_the_matrix_of_authorization(original):
    provider = original.provider
    bad = [
        provider.token(tenant="acme", scope=WRITE, exp=int(time.time()) - 3600),
        provider.token(tenant="acme", scope=WRITE, aud="another"),
        provider.token(tenant="acme", scope=WRITE, iss="https://elsewhere.example"),
        provider.token(scope=WRITE),
        "not.a.token",
    ]
    url = f"{original.serve.url}/audit/publish"
    for headers in [{}, *({"Authorization": f"Bearer {token}"} for token in bad)]:
        answer = httpx2.post(url, json=EVENT, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHORIZED")
    calls = {
        ("POST", "/audit/publish"): WRITE,
        ("GET", "/api/v1/status"): READ,
        ("GET", "/actuator/dlq/acme"): OPERATE,
        ("POST", "/actuator/dlq/acme"): OPERATE,
        ("DELETE", "/actuator/dlq/acme"): OPERATE,
    }
    for (method, path), needed in calls.items():
        for scope in ("", WRITE, READ, OPERATE, f"openid {needed}"):
            body = {"json": EVENT} if path == "/audit/publish" else {}
            status = original.call(method, path, "acme", scope, **body).status_code
            assert status == (200 if needed in scope.split() else 403), (method, path, scope)
    for probe in ("", "/liveness", "/readiness"):
        assert original.call("GET", f"/actuator/health{probe}", None).json() == {"status": "UP"}
    assert original.call("GET", "/actuator/info", None).json()["name"] == "auditflow"


@pytest.mark.parametrize(
    ("tenant", "code"), [("off", "TENANT_DISABLED"), ("nobody", "TENANT_NOT_PROVISIONED")]
)
def test_only_tenants_that_are_provisioned_publish(original, tenant, code):
    answer = original.publish(tenant)
    assert (answer.status_code, answer.json()["code"]) == (403, code)


def test_a_tenant_is_who_the_token_says_and_sees_its_own_alone(original):
    event_id = str(uuid4())
    before = len(original.receiver.at("/acme"))
    assert original.publish("globex", EVENT | {"eventId": event_id, "tenantId": "acme"}).status_code == 200
    wait_for(lambda: any(e["eventId"] == event_id for e in original.receiver.at("/globex")), what="the event")
    (event,) = [event for event in original.receiver.at("/globex") if event["eventId"] == event_id]
    assert event["tenantId"] == "globex"
    assert len(original.receiver.at("/acme")) == before
    assert event_id not in {event["eventId"] for event in original.receiver.at("/platform")}
    path = f"/api/v1/events/{event_id}"
    assert original.call("GET", path, "globex", READ).json()["tenant"] == "globex"
    assert original.call("GET", path, "acme", READ).status_code == 404
    for method in ("GET", "POST", "DELETE"):
        assert original.call(method, "/actuator/dlq/globex", "acme", OPERATE).status_code == 403
    assert original.call("POST", "/api/v1/pipelines/globex/globex/pause", "acme", OPERATE).status_code == 404
    rows = original.call("GET", "/api/v1/status", "acme", READ).json()["pipelines"]
    assert [(row["tenant"], row["name"]) for row in rows] == [("acme", "acme")]


def test_every_operator_by_every_name_decides_as_documented(original):
    assert {name for name, _ in spellings()} == RULES.keys()
    event = {"eventType": "auth.login", "sourceSystem": "shop", "extra": {"n": 42}}
    assert original.publish("operators", event).status_code == 200
    rows = original.settled("operators")
    assert len(rows) == 2 * len(spellings())
    assert {row["name"] for row in rows if row["delivered"]} == {f"yes-{spelt}" for _, spelt in spellings()}
    assert {row["name"] for row in rows if row["filtered"]} == {f"no-{spelt}" for _, spelt in spellings()}


def test_an_event_goes_to_all_pipelines_whose_condition_holds_and_to_no_other(original):
    ids = {kind: str(uuid4()) for kind in ("order.paid", "order.sent")}
    for kind, event_id in ids.items():
        assert original.publish("router", EVENT | {"eventType": kind, "eventId": event_id}).status_code == 200
    original.settled("router")
    arrived = {
        path: [e["eventId"] for e in original.receiver.at(path)]
        for path in ("/paid/one", "/paid/two", "/other")
    }
    paid, sent = [ids["order.paid"]], [ids["order.sent"]]
    assert arrived == {"/paid/one": paid, "/paid/two": paid, "/other": sent}


def test_what_two_destinations_refuse_is_one_dead_letter_until_it_is_replayed(original):
    paths = {"/failing/one", "/failing/two"}
    original.receiver.failing |= paths
    assert original.publish("failing").status_code == 200
    rows = original.settled("failing")
    assert [row["deadLettered"] for row in rows] == [1, 1]
    assert {path: len(original.receiver.at(path)) for path in paths} == dict.fromkeys(paths, 3)
    for _ in range(2):
        assert original.dlq("failing") == {"tenantId": "failing", "messageCount": 1, "status": "available"}
    original.receiver.failing -= paths
    assert original.dlq("failing", "POST") == {
        "status": "success",
        "tenantId": "failing",
        "retriedCount": 1,
        "requeuedCount": 0,
    }
    original.settled("failing")
    assert {path: len(original.receiver.at(path)) for path in paths} == dict.fromkeys(paths, 4)
    assert original.dead("failing") == 0


def test_dead_letters_are_purged_tenant_by_tenant(original):
    original.receiver.failing.add("/doomed")
    for _ in range(3):
        assert original.publish("doomed").status_code == 200
    original.settled("doomed")
    assert original.dead("doomed") == 3
    assert original.dlq("globex", "DELETE")["purgedCount"] == 0
    assert original.dlq("doomed", "DELETE") == {
        "status": "success",
        "tenantId": "doomed",
        "purgedCount": 3,
        "requeuedCount": 0,
    }
    assert original.dead("doomed") == 0


def test_over_its_quota_a_tenant_is_told_when_to_come_back_and_others_are_not_held_up(original):
    answers = [original.publish("limited") for _ in range(12)]
    refused = [answer for answer in answers if answer.status_code != 200]
    assert {(answer.status_code, answer.json()["code"]) for answer in refused} == {
        (429, "TENANT_RATE_LIMITED")
    }
    assert original.publish("acme").status_code == 200
    time.sleep(int(refused[-1].headers["Retry-After"]))  # what it says is true
    assert original.publish("limited").status_code == 200


def test_a_secret_is_the_tenant_s_own_and_never_blank(original):
    assert original.publish("secret").status_code == 200
    original.settled("secret")
    (headers,) = [headers for path, _, headers in original.receiver.got if path == "/secret"]
    assert headers["Authorization"] == "Bearer of-secret-alone"
    assert original.publish("secretless").status_code == 200
    original.settled("secretless")
    assert original.dead("secretless") == 1
    assert not original.receiver.at("/secretless")
    (letter,) = original.call("GET", "/api/v1/dead-letters", "secretless", READ).json()["letters"]
    assert "hook_token" in letter["reason"]
    assert "of-secret-alone" not in original.serve.log


def test_personal_data_is_redacted_before_it_is_delivered(original):
    extra = {"email": "amara@example.org", "user": "amara", "items": [{"card": "4111111111111111", "n": 1}]}
    answer = original.publish("acme", EVENT | {"extra": extra})
    event_id = answer.headers["X-Audit-Event-Id"]
    wait_for(lambda: any(e["eventId"] == event_id for e in original.receiver.at("/acme")), what="the event")
    (event,) = [event for event in original.receiver.at("/acme") if event["eventId"] == event_id]
    assert (event["extra"]["email"], event["extra"]["items"]) == ("***", [{"n": 1}])
    assert "amara" not in json.dumps(event)


def test_what_was_done_to_dead_letters_is_an_event_of_the_platform(original):
    original.receiver.failing.add("/globex")
    assert original.publish("globex").status_code == 200
    original.settled("globex")
    original.dlq("globex", "DELETE")

    def purges() -> list[dict[str, Any]]:
        own = [event for event in original.receiver.at("/platform") if event["sourceSystem"] == "auditflow"]
        return [event for event in own if event["extra"].get("actorTenant") == "globex"]

    wait_for(lambda: any(event["extra"]["count"] for event in purges()), what="the event of own audit")
    last = purges()[-1]
    assert (last["eventType"], last["extra"]["outcome"]) == ("auditflow.dead-letters.purged", "success")
    assert (last["extra"]["actor"], last["extra"]["count"]) == ("amara", 1)
    assert last["extra"]["selection"]["tenant"] == "globex"
    forged = original.publish("acme", {"eventType": last["eventType"], "sourceSystem": "auditflow"})
    assert (forged.status_code, forged.json()["code"]) == (403, "FORBIDDEN")
