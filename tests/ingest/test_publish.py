"""The publish call, as ASGI servers make it: every status, body and header of the wire contract."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from auditflow.errors import JournalDamaged, JournalFull, JournalUnavailable, MissingExtra
from auditflow.ingest import publish as module
from auditflow.ingest.admission import Admission, Quota
from auditflow.ingest.limits import Limits
from auditflow.ingest.publish import Publish
from auditflow.journal import Journal
from auditflow.journal.memory import MemoryJournal
from auditflow.journal.sqlite.writer import SqliteJournal
from auditflow.telemetry import metrics

EVENT = {"eventType": "auth.login", "sourceSystem": "web"}
ID = "0190163d-8694-739b-aea5-966c26f8ad90"
OTHER_ID = "0190163d-8694-739b-aea5-966c26f8ad91"
NDJSON = {"content-type": "application/x-ndjson"}


class Reply:
    """What the endpoint sent."""

    def __init__(self, messages: list[dict[str, Any]]) -> None:
        start, body = messages
        assert (start["type"], body["type"]) == ("http.response.start", "http.response.body")
        self.status: int = start["status"]
        self.headers = {name.decode(): value.decode() for name, value in start["headers"]}
        self.body = json.loads(body["body"])
        assert self.headers["content-type"] == "application/json"
        assert self.headers["content-length"] == str(len(body["body"]))


class Client:
    """Calls the endpoint the way an ASGI server does."""

    def __init__(
        self, journal: Journal, limits: Limits | None = None, admission: Admission | None = None
    ) -> None:
        self.journal = journal
        self.endpoint = Publish(journal, limits or Limits(), admission)
        self.sent: list[dict[str, Any]] = []

    async def call(
        self, messages: list[dict[str, Any]], headers: dict[str, str] | None = None, method: str = "POST"
    ) -> None:
        feed = iter(messages)
        raw = [
            (k.encode(), v.encode())
            for k, v in ({"content-type": "application/json"} | (headers or {})).items()
        ]
        self.sent = []

        async def receive() -> dict[str, Any]:
            return next(feed)

        async def send(message: dict[str, Any]) -> None:
            self.sent.append(message)

        await self.endpoint({"type": "http", "method": method, "headers": raw}, receive, send)

    async def post(self, body: object, headers: dict[str, str] | None = None, method: str = "POST") -> Reply:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        await self.call([{"type": "http.request", "body": raw}], headers, method)
        return Reply(self.sent)

    def stored(self) -> list[dict[str, Any]]:
        blocks = self.journal.read(1, 2**30)
        return [json.loads(event) for block in blocks for event in block.events]


@pytest.fixture(params=["memory", "sqlite"])
async def journal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Journal]:
    journal: Journal = (
        MemoryJournal()
        if request.param == "memory"
        else SqliteJournal(tmp_path / "journal.db", max_size=2**26, retention=60, dedup_window=60)
    )
    yield journal
    journal.close()


@pytest.fixture
def client(journal: Journal) -> Client:
    return Client(journal)


@pytest.fixture
def alone() -> Client:
    """A client of a journal in memory, for what has nothing to do with the journal."""
    return Client(MemoryJournal())


def counted(outcome: str) -> float:
    return metrics.REGISTRY.get_sample_value("auditflow_ingest_events_total", {"outcome": outcome}) or 0.0


def answered(status: str) -> float:
    return metrics.REGISTRY.get_sample_value("auditflow_publish_requests_total", {"status": status}) or 0.0


def problem(reply: Reply, status: int, code: str) -> str:
    """Check that the reply is an error of the contract; give its message."""
    assert reply.status == status
    assert reply.body["code"] == code
    assert reply.body["traceId"] == reply.headers["x-correlation-id"]
    assert reply.body["timestamp"].endswith("Z")
    message: str = reply.body["message"]
    return message


async def test_one_event_is_answered_with_its_id_and_receipt_time_in_body_and_headers(client):
    reply = await client.post(EVENT)
    (event,) = client.stored()
    assert reply.status == 200
    assert reply.body == {"eventId": event["eventId"], "timestamp": event["timestamp"], "duplicate": False}
    assert reply.headers["x-audit-event-id"] == event["eventId"]
    assert reply.headers["x-audit-received-at"] == event["timestamp"]
    assert reply.headers["x-correlation-id"] == event["correlationId"]


async def test_the_callers_correlation_id_is_used_and_given_back(client):
    reply = await client.post(EVENT, {"x-correlation-id": "order-7_A"})
    assert reply.headers["x-correlation-id"] == "order-7_A"
    assert client.stored()[0]["correlationId"] == "order-7_A"


@pytest.mark.parametrize("header", ["", "x" * 65, "a b", 'quote"', "a\nb", "é"])
async def test_a_correlation_id_that_could_harm_a_log_or_header_is_replaced(alone, header):
    reply = await alone.post(EVENT, {"x-correlation-id": header})
    assert len(reply.headers["x-correlation-id"]) == 36


async def test_a_repeat_is_answered_as_duplicate_and_stored_once(client):
    event = EVENT | {"eventId": ID}
    first, second = await client.post(event), await client.post(event)
    assert (first.status, second.status) == (200, 200)
    assert (first.body["duplicate"], second.body["duplicate"]) == (False, True)
    assert second.body["eventId"] == ID
    assert len(client.stored()) == 1


async def test_a_known_id_with_other_content_is_409(client):
    await client.post(EVENT | {"eventId": ID})
    reply = await client.post(EVENT | {"eventId": ID, "extra": {"n": 1}})
    assert ID in problem(reply, 409, "EVENT_ID_CONFLICT")
    assert len(client.stored()) == 1


async def test_several_events_are_counted_and_each_wrong_one_is_named_by_its_index(client):
    await client.post([EVENT | {"eventId": ID}, EVENT | {"eventId": OTHER_ID}])
    before = {outcome: counted(outcome) for outcome in ("accepted", "duplicate", "rejected")}
    reply = await client.post(
        [
            EVENT | {"eventId": ID, "extra": {"other": 1}},
            {"eventType": "x"},
            EVENT,
            EVENT | {"eventId": OTHER_ID},
            EVENT | {"eventId": "no-uuid"},
            EVENT,
        ]
    )
    assert reply.status == 200
    assert (reply.body["accepted"], reply.body["duplicates"]) == (2, 1)
    assert [(r["index"], r["code"]) for r in reply.body["rejected"]] == [
        (0, "EVENT_ID_CONFLICT"),
        (1, "VALIDATION_ERROR"),
        (4, "VALIDATION_ERROR"),
    ]
    assert ID in reply.body["rejected"][0]["message"]
    assert "sourceSystem" in reply.body["rejected"][1]["message"]
    assert "x-audit-event-id" not in reply.headers
    assert len(client.stored()) == 4
    after = {outcome: counted(outcome) - before[outcome] for outcome in before}
    assert after == {"accepted": 2, "duplicate": 1, "rejected": 3}


async def test_a_conflict_after_a_wrong_event_is_named_by_its_index_in_the_request(client):
    await client.post(EVENT | {"eventId": ID})
    reply = await client.post([{}, EVENT, EVENT | {"eventId": ID, "extra": {"n": 1}}])
    assert [(r["index"], r["code"]) for r in reply.body["rejected"]] == [
        (0, "VALIDATION_ERROR"),
        (2, "EVENT_ID_CONFLICT"),
    ]


async def test_repeats_and_conflicts_inside_one_request_are_found(client):
    event = EVENT | {"eventId": ID}
    reply = await client.post([event, event, event | {"extra": {"n": 1}}])
    assert (reply.body["accepted"], reply.body["duplicates"]) == (1, 1)
    assert [r["index"] for r in reply.body["rejected"]] == [2]


async def test_only_repeats_are_200(client):
    await client.post(EVENT | {"eventId": ID})
    reply = await client.post([EVENT | {"eventId": ID}])
    assert (reply.status, reply.body) == (200, {"accepted": 0, "duplicates": 1, "rejected": []})


async def test_all_wrong_is_400_and_says_what_is_wrong_with_each(client):
    reply = await client.post([{}, EVENT | {"eventId": 7}])
    assert "No event" in problem(reply, 400, "VALIDATION_ERROR")
    assert (reply.body["accepted"], reply.body["duplicates"]) == (0, 0)
    assert [r["index"] for r in reply.body["rejected"]] == [0, 1]
    assert client.stored() == []


async def test_an_array_of_one_is_answered_as_several(alone):
    reply = await alone.post([EVENT])
    assert reply.body == {"accepted": 1, "duplicates": 0, "rejected": []}


async def test_ndjson_is_answered_as_several(client):
    body = b"\n".join(json.dumps(EVENT | {"extra": {"n": n}}).encode() for n in range(3))
    reply = await client.post(body, NDJSON)
    assert reply.body == {"accepted": 3, "duplicates": 0, "rejected": []}
    assert [event["extra"]["n"] for event in client.stored()] == [0, 1, 2]


async def test_a_body_in_chunks_and_gzip_is_read_whole(alone):
    body = gzip.compress(json.dumps(EVENT).encode())
    chunks = [
        {"type": "http.request", "body": body[i : i + 9], "more_body": True} for i in range(0, len(body), 9)
    ]
    await alone.call([*chunks, {"type": "http.request"}], {"content-encoding": "gzip"})
    assert Reply(alone.sent).status == 200


@pytest.mark.parametrize(
    ("body", "headers", "status", "said"),
    [
        (b"{", {}, 400, "not valid JSON"),
        (b"", {}, 400, "no event"),
        (b"[]", {}, 400, "no event"),
        (b'{"eventType":"a"}', {}, 400, "sourceSystem"),
        (b"{}", {"content-type": "text/plain"}, 415, "text/plain"),
        (b"{}", {"content-encoding": "br"}, 415, "br"),
        (b"{}", {"content-length": "99999999"}, 413, "larger"),
        (b" " * 2000, {}, 413, "larger"),
        (b"[" + b"{}," * 10 + b"{}]", {}, 413, "11 events"),
        (json.dumps(EVENT | {"extra": {"a": "x" * 500}}).encode(), {}, 413, "bytes"),
    ],
)
async def test_a_wrong_request_is_told_what_is_wrong(body, headers, status, said):
    client = Client(MemoryJournal(), Limits(request_bytes=1000, event_bytes=400, request_events=10))
    before = answered(str(status))
    reply = await client.post(body, headers)
    assert said in problem(reply, status, "VALIDATION_ERROR")
    assert client.stored() == []
    assert answered(str(status)) == before + 1
    assert "allow" not in reply.headers


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_another_method_is_405_and_says_which_one_is_allowed(alone, method):
    reply = await alone.post(b"", method=method)
    assert method in problem(reply, 405, "VALIDATION_ERROR")
    assert reply.headers["allow"] == "POST"


async def test_an_id_or_tenant_with_a_line_break_is_refused(alone):
    reply = await alone.post([EVENT | {"eventId": f"{ID}\n"}, EVENT | {"tenantId": "acme\n"}])
    assert "eventId" in reply.body["rejected"][0]["message"]
    assert "tenantId" in reply.body["rejected"][1]["message"]


REFUSALS = [
    JournalFull(size="10GiB", limit="10GiB"),
    JournalUnavailable(path="/var/secret/journal.db", reason="disk I/O error"),
    JournalDamaged(path="/var/secret/journal.db", reason="checksum"),
]


def refusing(error: Exception) -> Client:
    journal = MemoryJournal()

    async def append(batch: object) -> None:
        raise error

    journal.append = append  # type: ignore[method-assign,assignment]
    return Client(journal)


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)
async def test_what_the_journal_cannot_take_is_503_with_when_to_come_back(error, caplog):
    client = refusing(error)
    reply = await client.post([EVENT])
    message = problem(reply, 503, "PUBLISH_FAILED")
    assert reply.headers["retry-after"] == "5"
    assert "nothing was accepted" in message
    assert "secret" not in message
    assert "GiB" not in message
    assert str(error) in caplog.text


async def test_a_full_journal_refuses_with_503_and_stores_nothing(tmp_path):
    journal = SqliteJournal(tmp_path / "journal.db", max_size=2**18, retention=60, dedup_window=60)
    client = Client(journal)
    statuses = []
    for _ in range(20):
        noise = [EVENT | {"extra": {"a": random.randbytes(300).hex()}} for _ in range(100)]
        statuses.append((await client.post(noise)).status)
    stored = len(client.stored())
    journal.close()
    assert statuses[-1] == 503
    assert stored == 100 * statuses.count(200)


@pytest.mark.parametrize(
    "error", [RuntimeError("/var/secret"), MissingExtra(what="x", package="secret", extra="y")]
)
async def test_a_fault_is_500_without_details_and_the_log_has_them(error, caplog):
    before = answered("500")
    reply = await refusing(error).post(EVENT)
    assert "secret" not in problem(reply, 500, "INTERNAL_ERROR")
    assert "secret" in caplog.text
    assert "retry-after" not in reply.headers
    assert answered("500") == before + 1


async def test_a_client_that_leaves_gets_no_answer_and_nothing_is_stored(alone):
    await alone.call(
        [{"type": "http.request", "body": b'{"eve', "more_body": True}, {"type": "http.disconnect"}]
    )
    assert alone.sent == []
    assert alone.stored() == []


async def test_events_that_came_together_are_all_answered(client):
    clients = [Client(client.journal) for _ in range(20)]
    replies = await asyncio.gather(*(each.post(EVENT) for each in clients))
    assert {reply.status for reply in replies} == {200}
    assert {event["eventId"] for event in client.stored()} == {reply.body["eventId"] for reply in replies}


async def test_readiness_hears_of_a_refusal_until_the_journal_takes_events_or_a_while_has_passed(monkeypatch):
    client = refusing(REFUSALS[0])
    append = MemoryJournal().append
    now = 1000.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    assert client.endpoint.unavailable() == ""
    await client.post(EVENT)
    assert client.endpoint.unavailable() == str(REFUSALS[0])
    now += 10.1
    assert client.endpoint.unavailable() == ""
    await client.post(EVENT)
    assert client.endpoint.unavailable() == str(REFUSALS[0])
    client.journal.append = append
    await client.post(EVENT)
    assert client.endpoint.unavailable() == ""


@dataclass
class Tenant:
    """A tenant as admission sees it."""

    enabled: bool = True
    quota: Quota = field(default_factory=Quota)


TENANTS = {
    "acme": Tenant(),
    "off": Tenant(enabled=False),
    "slow": Tenant(quota=Quota(rateLimitPerSec=1, burst=2)),
}


@pytest.fixture
def provisioned(journal: Journal) -> Client:
    """A client where the tenants of TENANTS are provisioned and time stands still."""
    return Client(journal, admission=Admission(TENANTS, clock=lambda: 0.0))


def of(*tenants: str) -> list[dict[str, Any]]:
    return [EVENT | {"tenantId": tenant} for tenant in tenants]


@pytest.mark.parametrize("event", [EVENT, EVENT | {"tenantId": "-"}, EVENT | {"tenantId": "acme"}])
async def test_events_of_a_provisioned_tenant_or_of_none_are_accepted(provisioned, event):
    assert (await provisioned.post(event)).status == 200
    assert len(provisioned.stored()) == 1


@pytest.mark.parametrize(
    ("tenant", "code"), [("nobody", "TENANT_NOT_PROVISIONED"), ("off", "TENANT_DISABLED")]
)
async def test_an_event_of_an_unknown_or_disabled_tenant_is_403(provisioned, tenant, code):
    reply = await provisioned.post(of(tenant)[0])
    assert tenant in problem(reply, 403, code)
    assert "retry-after" not in reply.headers
    assert provisioned.stored() == []


async def test_an_event_over_the_quota_is_429_and_says_when_to_come_back(provisioned):
    for _ in range(2):
        assert (await provisioned.post(of("slow")[0])).status == 200
    reply = await provisioned.post(of("slow")[0])
    assert "1 s" in problem(reply, 429, "TENANT_RATE_LIMITED")
    assert reply.headers["retry-after"] == "1"
    assert len(provisioned.stored()) == 2


async def test_in_a_request_of_several_tenants_each_is_judged_apart(provisioned):
    reply = await provisioned.post([*of("nobody", "acme"), {}, *of("off", "slow", "nobody"), EVENT])
    assert (reply.status, reply.body["accepted"]) == (200, 3)
    assert [(r["index"], r["code"]) for r in reply.body["rejected"]] == [
        (0, "TENANT_NOT_PROVISIONED"),
        (2, "VALIDATION_ERROR"),
        (3, "TENANT_DISABLED"),
        (5, "TENANT_NOT_PROVISIONED"),
    ]
    assert [event.get("tenantId") for event in provisioned.stored()] == ["acme", "slow", None]


async def test_the_ids_that_clients_chose_stay_with_their_events_when_others_are_refused(provisioned):
    event = EVENT | {"tenantId": "acme", "eventId": ID}
    for duplicates in (0, 1):
        reply = await provisioned.post([*of("nobody"), EVENT | {"tenantId": "acme"}, event])
        assert (reply.body["accepted"], reply.body["duplicates"]) == (2 - duplicates, duplicates)
    reply = await provisioned.post([*of("nobody"), event | {"extra": {"n": 1}}, EVENT])
    assert [(r["index"], r["code"]) for r in reply.body["rejected"]] == [
        (0, "TENANT_NOT_PROVISIONED"),
        (1, "EVENT_ID_CONFLICT"),
    ]


@pytest.mark.parametrize(
    ("tenants", "status", "code", "retry_after"),
    [
        (["nobody", "nobody"], 403, "TENANT_NOT_PROVISIONED", None),
        (["slow"] * 2, 429, "TENANT_RATE_LIMITED", "2"),
        (["off", "slow", "slow"], 429, "TENANT_RATE_LIMITED", "2"),
    ],
)
async def test_a_request_of_which_nothing_is_admitted_gets_the_answer_of_its_tenant(
    provisioned, tenants, status, code, retry_after
):
    await provisioned.post(of("slow", "slow"))
    reply = await provisioned.post([*of(*tenants), {}])
    problem(reply, status, code)
    assert reply.headers.get("retry-after") == retry_after
    assert (reply.body["accepted"], len(reply.body["rejected"])) == (0, len(tenants) + 1)
    assert len(provisioned.stored()) == 2


async def test_the_reason_why_events_are_refused_is_told_once_and_not_for_every_call(caplog):
    publish = Publish(MemoryJournal(), Limits())
    for _ in range(50):
        publish.tell(JournalFull(size="1 GiB", limit="1 GiB"))
    publish.tell(JournalUnavailable(path="/data", reason="I/O error"))
    assert len(caplog.messages) == 2
