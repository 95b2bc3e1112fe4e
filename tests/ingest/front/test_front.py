"""Calls that arrive together are served together, and each gets what it would get alone."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditflow.errors import JournalFull
from auditflow.ingest.admission import Admission, Quota
from auditflow.ingest.auth.principal import ANYONE, Principal
from auditflow.ingest.front.front import MOST_REQUESTS, Front, events_of
from auditflow.ingest.front.request import Request
from auditflow.ingest.limits import Limits
from auditflow.ingest.publish import Publish
from auditflow.journal import AppendBatch, Appended
from auditflow.journal.memory import MemoryJournal

EVENT = {"eventType": "auth.login", "sourceSystem": "web"}
ID = "0198c5d2-6f00-7000-8000-00000000000%d"


class Counting(MemoryJournal):
    """A journal that counts appends, and refuses them when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.appends: list[int] = []
        self.full = False

    async def append(self, batch: AppendBatch) -> Appended:
        self.appends.append(len(batch.events))
        if self.full:
            raise JournalFull(limit="1 GiB", size="1 GiB")
        return await super().append(batch)


class Tenant:
    enabled = True
    quota = Quota.model_validate({"rateLimitPerSec": 1, "burst": 2})
    redaction: Any = type("Nothing", (), {"rules": ()})()


async def served(
    front: Front, bodies: list[bytes], principals: list[Principal] | None = None
) -> list[tuple[int, dict[str, Any], dict[str, str]]]:
    """Put these calls into one turn of the loop; give status, body and headers of each answer."""
    answers: dict[int, tuple[int, dict[str, Any], dict[str, str]]] = {}
    done = asyncio.Event()

    def respond(number: int, status_line: bytes, rest: bytes) -> None:
        head, _, body = rest.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        assert int(headers["content-length"]) == len(body)
        assert number not in answers, "each is answered once"
        answers[number] = int(status_line.split()[1]), json.loads(body), headers
        if len(answers) == len(bodies):
            done.set()

    for number, body in enumerate(bodies):
        principal = principals[number] if principals else ANYONE
        respond_to = lambda line, rest, number=number: respond(number, line, rest)  # noqa: E731 - bound to its number
        events, single = events_of({b"content-type": b"application/json"}, body, 10_000) or ([body], True)
        front.add(Request(events, single, principal, f"call-{number}", respond_to))
    await asyncio.wait_for(done.wait(), 60)
    return [answers[number] for number in range(len(bodies))]


def encoded(**more: Any) -> bytes:
    return json.dumps(EVENT | more).encode()


@pytest.fixture
def journal() -> Counting:
    return Counting()


@pytest.fixture
def front(journal: Counting) -> Front:
    return Front(Publish(journal, Limits()), None)


async def test_calls_of_one_turn_share_an_append_and_each_has_its_own_answer(front: Front, journal: Counting):
    answers = await served(front, [encoded(n=number) for number in range(100)])
    assert journal.appends == [100]
    assert [status for status, _, _ in answers] == [200] * 100
    assert len({body["eventId"] for _, body, _ in answers}) == 100
    stored = [json.loads(event) for block in journal.read(1, 2**20) for event in block.events]
    for number, (_, body, headers) in enumerate(answers):
        assert headers["x-correlation-id"] == f"call-{number}"
        assert headers["x-audit-event-id"] == body["eventId"]
        assert stored[number]["n"] == number
        assert (stored[number]["eventId"], stored[number]["correlationId"]) == (
            body["eventId"],
            f"call-{number}",
        )


async def test_a_pass_has_a_bound_and_the_rest_follows(front: Front, journal: Counting):
    await served(front, [encoded()] * (MOST_REQUESTS + 1))
    assert journal.appends == [MOST_REQUESTS, 1]


async def test_what_is_wrong_with_one_is_its_own_answer(front: Front, journal: Counting):
    bodies = [
        encoded(),
        b"{",
        encoded(eventType=""),
        b'{"a": ' * 5_000,
        encoded(sourceSystem="auditflow", eventType="auditflow.keys.created"),
        encoded(),
    ]
    answers = await served(front, bodies)
    assert [status for status, _, _ in answers] == [200, 400, 400, 400, 403, 200]
    assert answers[2][1]["traceId"] == "call-2"
    assert journal.appends == [2]


async def test_repeats_and_conflicts_within_a_pass_are_told_apart(front: Front):
    one = encoded(eventId=ID % 1)
    other = encoded(eventId=ID % 1, more="than that")
    answers = await served(front, [one, one, other, encoded(eventId=ID % 2)])
    assert [status for status, _, _ in answers] == [200, 200, 409, 200]
    assert [body.get("duplicate") for _, body, _ in answers] == [False, True, None, False]


async def test_a_journal_that_is_full_refuses_them_all_and_they_are_told_when_to_come_back(front, journal):
    journal.full = True
    answers = await served(front, [encoded()] * 3)
    assert [(status, headers["retry-after"]) for status, _, headers in answers] == [(503, "5")] * 3
    assert front._publish.unavailable()


async def test_lists_share_the_append_and_each_has_its_own_counts(front: Front, journal: Counting):
    bodies = [
        b"[%b]" % b",".join([encoded(eventId=ID % 1), b"{}", encoded(eventId=ID % 1), encoded()]),
        encoded(eventId=ID % 1),
        b"[%b]" % encoded(eventId=ID % 1, other="content"),
        b"[%b]" % encoded(),
    ]
    answers = await served(front, bodies)
    assert journal.appends == [6]
    assert [status for status, _, _ in answers] == [200, 200, 400, 200]
    assert [(body.get("accepted"), body.get("duplicates")) for _, body, _ in answers] == [
        (2, 1), (None, None), (0, 0), (1, 0),
    ]  # fmt: skip
    assert [each["index"] for each in answers[0][1]["rejected"]] == [1]
    assert answers[1][1]["duplicate"]
    assert answers[2][1]["rejected"][0]["code"] == "EVENT_ID_CONFLICT"


async def test_who_publishes_owns_the_event(front: Front, journal: Counting):
    acme, globex = Principal("a", "acme", frozenset()), Principal("g", "globex", frozenset())
    await served(front, [encoded(), encoded(tenantId="acme"), encoded()], [acme, globex, ANYONE])
    (block,) = journal.read(1, 2**20)
    stored = [json.loads(event) for event in block.events]
    assert [event.get("tenantId") for event in stored] == ["acme", "globex", None]


async def test_a_quota_counts_each_call_by_itself(journal: Counting):
    publish = Publish(journal, Limits(), Admission({"acme": Tenant()}))
    answers = await served(
        Front(publish, None), [encoded(tenantId="acme")] * 3 + [encoded(tenantId="nobody")]
    )
    assert [status for status, _, _ in answers] == [200, 200, 429, 403]
    assert "retry-after" in answers[2][2]


async def test_a_fault_of_ours_with_one_call_leaves_the_others_alone(front: Front, monkeypatch):
    redacted = front._publish.redacted

    async def failing(decoded):
        if any(b"poison" in event for event in decoded.batch.events):
            raise RuntimeError("a fault of ours")
        return await redacted(decoded)

    monkeypatch.setattr(front._publish, "redacted", failing)
    answers = await served(front, [encoded(), encoded(x="poison"), encoded()])
    assert [status for status, _, _ in answers] == [200, 500, 200]


values = st.one_of(
    st.just(encoded()),
    st.just(encoded(eventId=ID % 3)),
    st.just(encoded(tenantId="acme")),
    st.just(encoded(tenantId="no tenant!")),
    st.just(encoded(correlationId="mine")),
    st.just(encoded(timestamp="2020-01-01T00:00:00Z")),
    st.lists(st.sampled_from([encoded(), encoded(eventId=ID % 3), b"{}"]), min_size=1, max_size=3).map(
        lambda events: b"[%b]" % b",".join(events)
    ),
    st.binary(max_size=20).map(lambda tail: b"{" + tail),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(values, min_size=1, max_size=8))
def test_together_each_gets_the_answer_that_it_would_get_alone(bodies: list[bytes]):
    async def both() -> None:
        together = await served(Front(Publish(MemoryJournal(), Limits()), None), bodies)
        front = Front(Publish(MemoryJournal(), Limits()), None)
        alone = [(await served(front, [body]))[0] for body in bodies]
        for (status, body, _), (status_alone, body_alone, _) in zip(together, alone, strict=True):
            assert status == status_alone
            same = ("duplicate", "code", "message", "accepted", "duplicates", "rejected")
            assert [body.get(name) for name in same] == [body_alone.get(name) for name in same]

    asyncio.run(both())


JSON = {b"content-type": b"application/json"}
LINES = {b"content-type": b"application/x-ndjson; charset=utf-8"}


@pytest.mark.parametrize(
    ("headers", "body", "found"),
    [
        (JSON, b'{"a":1} ', ([b'{"a":1}'], True)),
        (JSON, b"\xef\xbb\xbf{}", ([b"{}"], True)),
        (JSON, b"[{}, {}]", ([b"{}", b"{}"], False)),
        (LINES, b"{}\n{}\n", ([b"{}", b"{}"], False)),
        (LINES, b"{}", ([b"{}"], False)),
        (JSON, b"", None),
        (JSON, b"[", None),
        (JSON, b"[" + b"{}," * 10 + b"{}]", None),
        (JSON | {b"content-encoding": b"gzip"}, b"{}", None),
        ({b"content-type": b"text/plain"}, b"{}", None),
        ({}, b"{}", None),
    ],
)
def test_what_is_small_and_plain_is_for_the_front_and_all_else_goes_the_long_way(headers, body: bytes, found):
    assert events_of(headers, body, 10) == found
