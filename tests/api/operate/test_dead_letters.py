"""Dead letters over HTTP: found by filter, read whole, delivered again, deleted; bad input gets a clear answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from auditflow.api import ingest_app
from auditflow.ingest.limits import Limits
from auditflow.ingest.publish import Publish
from auditflow.journal.memory import MemoryJournal
from auditflow.ledger import LOST, DeadLetter, Progress, Replay, Replayed, Selection, Update
from auditflow.ledger import commands as commands_module
from auditflow.ledger.memory import MemoryLedger

PATH = "/api/v1/dead-letters"
ID = "019a0000-0000-7000-8000-000000000001"
EVENT = {"eventType": "a", "sourceSystem": "b", "eventId": ID, "tenantId": "acme"}


@pytest.fixture
def ledger() -> MemoryLedger:
    ledger = MemoryLedger()
    ledger.register(["a", "b", "old"], 1, 1)
    event = json.dumps(EVENT).encode()
    own = {"tenant": "acme", "event_id": ID}
    ledger.commit(
        [
            Update(
                "a",
                Progress(9),
                letters=[
                    DeadLetter("a", 1, "Bad", "cannot be", event, attempts=3, first_failed=1_000, last_failed=2_000, **own),
                    DeadLetter("a", 2, "Worse", "no", b"not json \xff", first_failed=3_000, last_failed=3_000, tenant="other"),
                    DeadLetter("a", 3, LOST, "gone", count=5, first_failed=4_000, last_failed=4_000),
                ],
            ),
            Update("old", Progress(2), letters=[DeadLetter("old", 1, "Bad", "no", event, last_failed=9_000, **own)]),
        ]
    )  # fmt: skip
    ledger.register(["a", "b"], 9, 1)
    return ledger


@pytest.fixture
def app(ledger, operating) -> Any:
    journal = MemoryJournal()
    publish = Publish(journal, Limits())
    return ingest_app.build(publish, operating(journal, ledger), publish.unavailable, 2**16)


def ids(answer: Any) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [letter["id"] for letter in answer.json()["letters"]]


async def test_letters_are_listed_with_their_numbers_by_cause(client, app):
    async with client(app) as ask:
        answer = (await ask.get(PATH)).json()
    assert [(one["pipeline"], one["code"], one["letters"], one["events"]) for one in answer["groups"]] == [
        ("a", "Bad", 1, 1),
        ("a", LOST, 1, 5),
        ("a", "Worse", 1, 1),
        ("old", "Bad", 1, 1),
    ]
    assert answer["letters"][0] == {
        "id": 1, "pipeline": "a", "tenant": "acme", "eventId": ID, "sequence": 1, "events": 1, "code": "Bad",
        "reason": "cannot be", "attempts": 3, "firstFailed": "1970-01-01T00:00:01.000Z",
        "lastFailed": "1970-01-01T00:00:02.000Z", "replayingTo": None, "bytes": len(json.dumps(EVENT)),
    }  # fmt: skip
    assert (answer["letters"][2]["tenant"], answer["letters"][2]["eventId"]) == (None, None)


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        ("", [1, 2, 3, 4]),
        ("pipeline=a", [1, 2, 3]),
        ("tenant=acme", [1, 4]),
        ("code=Bad&pipeline=a", [1]),
        ("since=1970-01-01T00:00:03Z", [2, 3, 4]),
        ("until=1970-01-01T00:00:03Z", [1]),
        ("since=1970-01-01T01:00:03%2B01:00&until=1970-01-01T00:00:04Z", [2]),
        ("ids=2&ids=4&ids=77", [2, 4]),
        ("pipeline=nobody", []),
    ],
)
async def test_a_filter_selects_what_agrees_with_all_of_it(client, app, chosen, found):
    async with client(app) as ask:
        assert ids(await ask.get(f"{PATH}?{chosen}")) == found


async def test_pages_follow_one_another_to_the_end(client, app):
    found: list[list[int]] = []
    async with client(app) as ask:
        cursor: int | None = 0
        while cursor is not None:
            answer = await ask.get(PATH, params={"limit": 3, "cursor": cursor})
            found.append(ids(answer))
            cursor = answer.json()["cursor"]
    assert found == [[1, 2, 3], [4], []]


async def test_a_letter_is_read_whole(client, app, ledger):
    ledger.replay(Selection(ids=[1]), Replay(), at=5_000)
    again = DeadLetter("a", 0, "Worst", "still not", id=1, attempts=1, last_failed=6_000)
    ledger.commit([], Replayed(failed=[again]))
    async with client(app) as ask:
        first, second, lost = [(await ask.get(f"{PATH}/{number}")).json() for number in (1, 2, 3)]
    assert (first["event"], first["code"]) == (EVENT, "Worst")
    assert [(one["code"], one["reason"], one["attempts"]) for one in first["history"]] == [
        ("Bad", "cannot be", 3)
    ]
    assert second["event"] == "not json \ufffd"
    assert lost["event"] is None


@pytest.mark.parametrize(
    "value", [b"[" * 800 + b"]" * 800, b"1e400", b"9" * 5000], ids=["deep", "large", "long"]
)
async def test_an_event_is_given_byte_for_byte(client, app, ledger, value):
    event = b'{"x":' + value + b"}"
    ledger.commit([Update("a", Progress(9), letters=[DeadLetter("a", 5, "Bad", "no", event)])])
    async with client(app) as ask:
        answer = await ask.get(f"{PATH}/5")
    assert answer.status_code == 200
    assert b'"event":' + event in answer.content


@pytest.mark.parametrize("number", ["99", "0", "-1", "9223372036854775808", "x"])
async def test_an_unknown_letter_is_404(client, app, number):
    async with client(app) as ask:
        for answer in (await ask.get(f"{PATH}/{number}"), await ask.post(f"{PATH}/{number}/replay", json={})):
            assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=many", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=-1", "cursor"),
        ("cursor=9223372036854775808", "cursor"),
        ("pipeline=", "pipeline"),
        ("tenant=", "tenant"),
        ("code=", "code"),
        ("since=yesterday", "since"),
        ("since=2026-01-01T00:00:00", "since"),
        ("ids=one", "ids"),
        ("colour=red", "colour"),
    ],
)
async def test_a_malformed_filter_is_refused_by_name(client, app, query, name):
    async with client(app) as ask:
        answer = await ask.get(f"{PATH}?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "VALIDATION_ERROR")
    assert name in answer.json()["message"]


@pytest.mark.parametrize(
    ("order", "name"),
    [
        (("/replay", {"rate": 0}), "rate"),
        (("/replay", {"rate": "fast"}), "rate"),
        (("/replay", {"colour": "red"}), "colour"),
        (("/replay", {"ids": "1"}), "ids"),
        (("/replay", {"to": ""}), "to"),
        (("/replay", []), "object"),
        (("/1/replay", {"event": "text"}), "event"),
        (("/1/replay", {"event": EVENT | {"eventId": "other"}}), "eventId"),
        (("/1/replay", {"event": EVENT | {"tenantId": "mine"}}), "tenantId"),
        (("/1/replay", {"event": {}}), "eventId"),
    ],
)
async def test_a_malformed_order_is_refused_and_nothing_is_replayed(client, app, ledger, order, name):
    path, body = order
    async with client(app) as ask:
        answer = await ask.post(PATH + path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "VALIDATION_ERROR")
    assert name in answer.json()["message"]
    assert not [letter for letter in ledger.dead_letters() if letter.target]


async def test_a_body_that_is_too_large_is_refused(client, app):
    async with client(app) as ask:
        answer = await ask.post(f"{PATH}/1/replay", json={"event": EVENT | {"x": "x" * 2**16}})
    assert answer.status_code == 413


async def test_the_selected_letters_are_replayed(client, app, ledger, delivering):
    async with client(app) as ask, delivering(ledger):
        answer = await ask.post(f"{PATH}/replay", json={"tenant": "acme", "to": "b", "rate": 10})
    assert answer.json() == {"replayed": 2}
    assert [(one.id, one.rate) for one in ledger.to_replay("b")] == [(1, 10.0), (4, 10.0)]


async def test_one_letter_is_replayed_edited(client, app, ledger, delivering):
    edited = EVENT | {"extra": {"fixed": True}}
    async with client(app) as ask, delivering(ledger):
        answer = await ask.post(f"{PATH}/1/replay", json={"event": edited})
    assert answer.json() == {"replayed": 1}
    (letter,) = ledger.to_replay("a")
    assert isinstance(letter.event, bytes), "as text it could not be read again"
    assert json.loads(letter.event) == edited


@pytest.mark.parametrize(
    ("change", "field"),
    [({"eventType": 5}, "eventType"), ({"eventTime": "soon"}, "eventTime"), ({"extra": []}, "extra")],
)
async def test_an_edited_event_is_checked_like_a_published_one(client, app, ledger, change, field):
    async with client(app) as ask:
        answer = await ask.post(f"{PATH}/1/replay", json={"event": EVENT | change})
    assert answer.status_code == 400
    assert f"'{field}'" in answer.json()["message"]
    assert ledger.to_replay("a") == []


async def test_what_auditflow_says_of_itself_is_neither_edited_nor_made_by_editing(client, app, ledger):
    own = EVENT | {"eventType": "auditflow.keys.created", "sourceSystem": "auditflow"}
    stored = DeadLetter("a", 5, "Bad", "no", json.dumps(own).encode(), tenant="acme", event_id=ID)
    ledger.commit([Update("a", Progress(9), letters=[stored])])
    async with client(app) as ask:
        for number, event in ((1, own), (5, EVENT), (5, own)):
            answer = await ask.post(f"{PATH}/{number}/replay", json={"event": event})
            assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")
    assert ledger.to_replay("a") == []


async def test_what_cannot_be_replayed_says_why(client, app, ledger, delivering):
    async with client(app) as ask, delivering(ledger):
        assert (await ask.post(f"{PATH}/1/replay", json={})).status_code == 200
        again = await ask.post(f"{PATH}/1/replay", json={})
        lost = await ask.post(f"{PATH}/3/replay", json={})
        gone = await ask.post(f"{PATH}/4/replay", json={})
    assert (again.status_code, lost.status_code, gone.status_code) == (409, 409, 404)
    assert "already" in again.json()["message"]
    assert "lost" in lost.json()["message"]
    assert "those that do: a, b" in gone.json()["message"]


async def test_purging_needs_a_selection_or_all(client, app, ledger, delivering):
    async with client(app) as ask, delivering(ledger):
        refused = await ask.delete(PATH)
        for name in ("tenant", "pipeline", "code"):
            assert (await ask.delete(PATH, params={name: ""})).status_code == 400
        some = await ask.delete(PATH, params={"ids": [3]})
        rest = await ask.delete(PATH, params={"all": True})
    assert (refused.status_code, refused.json()["code"]) == (400, "VALIDATION_ERROR")
    assert "all=true" in refused.json()["message"]
    assert (some.json(), rest.json()) == ({"purged": 5}, {"purged": 3})
    assert ledger.dead_letters() == []


async def test_while_delivery_does_not_run_the_order_is_kept(client, app, ledger, delivering, monkeypatch):
    monkeypatch.setattr(commands_module, "ANSWER_SECONDS", 0.1)
    async with client(app) as ask:
        answer = await ask.post(f"{PATH}/replay", json={"pipeline": "a"})
        assert (answer.status_code, answer.json()["code"]) == (503, "DELIVERY_UNAVAILABLE")
        assert answer.json()["hint"]
        async with delivering(ledger):
            monkeypatch.setattr(commands_module, "ANSWER_SECONDS", 5)
            assert (await ask.post(f"{PATH}/replay", json={"pipeline": "a"})).json() == {"replayed": 0}
    assert [one.id for one in ledger.to_replay("a")] == [1, 2]


async def test_a_filter_takes_so_many_ids_and_no_more(client, app):
    async with client(app) as ask:
        answer = await ask.post(f"{PATH}/replay", json={"ids": [1] * 10_001})
    assert answer.status_code in {400, 422}
    assert "at most 10000 ids" in answer.text
