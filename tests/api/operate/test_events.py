"""Every event that was accepted has an answer to where it is, in every pipeline, and the answer is true."""

from __future__ import annotations

import json
import uuid

import pytest
from fastapi import FastAPI

from auditflow.api import problems
from auditflow.api.operate import events as where
from auditflow.config import PipelineConfig, Running
from auditflow.journal import AppendBatch
from auditflow.journal.memory import MemoryJournal
from auditflow.journal.sqlite.writer import SqliteJournal
from auditflow.ledger import LOST, DeadLetter, Handed, Progress, Replay, Replayed, Selection, Update
from auditflow.ledger.memory import MemoryLedger
from auditflow.ledger.receipts import receipt

HOUR = 3600.0
STREAM = {"destination": "/a/b", "logGroup": "/a", "logStream": "b"}
AT = "1970-01-01T00:33:20.000Z"


class World:
    """A journal, a ledger and the call that looks into both."""

    def __init__(self, client, journal=None) -> None:
        self.now = 2000.0
        self.journal = journal or MemoryJournal(clock=lambda: self.now)
        self.ledger = MemoryLedger()
        self.ledger.register(["p"], 1, 1)
        self.configured()
        self._client = client

    def configured(self, **pipeline: object) -> None:
        config = PipelineConfig.model_validate({"name": "p", "sink": {"name": "logging_sink"}} | pipeline)
        self.where = where.Where(
            self.journal,
            self.ledger,
            lambda: {"p": Running("p", "", config)},
            retention=HOUR,
            clock=lambda: self.now,
        )

    async def publish(self, *tenants: str, event_id: str = "", **fields: object) -> str:
        """Append an event for each tenant, all of one id."""
        event_id = event_id or str(uuid.uuid4())
        event = {"eventId": event_id, "eventType": "auth.login", **fields}
        tenants = tenants or ("_platform",)
        events = [json.dumps(event | {"tenantId": tenant}).encode() for tenant in tenants]
        await self.journal.append(
            AppendBatch(events, [event_id] * len(tenants), [*tenants], [*range(len(tenants))])
        )
        return event_id

    def finish(self, low: int, **update: object) -> None:
        self.ledger.commit([Update("p", Progress(low), **update)])

    async def get(self, event_id: str, **query: str):
        app = FastAPI()
        app.include_router(where.router(self.where))
        problems.install(app)
        async with self._client(app) as asking:
            return await asking.get(f"/api/v1/events/{event_id}", params=query)

    async def state(self, event_id: str) -> dict:
        answer = await self.get(event_id)
        assert answer.status_code == 200, answer.text
        (state,) = answer.json()["pipelines"]
        assert (state.pop("name"), state.pop("tenant")) == ("p", "_platform")
        return state


@pytest.fixture
def world(client) -> World:
    return World(client)


def letter(sequence: int, **more: object) -> DeadLetter:
    return DeadLetter("p", sequence, "Bad", "no", b"{}", attempts=3, last_failed=2_000_000, **more)


async def test_an_answer_names_the_event_its_owner_its_number_and_when_it_was_accepted(world):
    event_id = await world.publish("acme")
    answer = (await world.get(event_id)).json()
    del answer["pipelines"]
    assert answer == {"eventId": event_id, "tenant": "acme", "sequence": 1, "acceptedAt": AT}


async def test_a_pipeline_that_began_later_has_nothing_to_do_with_it(world):
    event_id = await world.publish()
    world.ledger.register(["later"], world.journal.head(), 1)
    (state,) = (await world.get(event_id)).json()["pipelines"]
    assert state == {
        "name": "later",
        "tenant": "_platform",
        "state": "none",
        "reason": "the pipeline began after this event",
    }


async def test_a_pending_event_knows_how_many_are_ahead_of_it(world):
    for _ in range(3):
        event_id = await world.publish()
    pending = {"state": "pending", "pipelineState": "active", "ahead": 2, "lastError": None}
    assert await world.state(event_id) == pending
    world.finish(2)
    assert await world.state(event_id) == pending | {"ahead": 1}


async def test_a_pending_event_of_a_blocked_or_paused_pipeline_says_so_with_the_last_error(world):
    event_id = await world.publish()
    error = {"code": "AccessDenied", "message": "not allowed", "hint": "allow it", "at": 1}
    world.ledger.note({"p": json.dumps({"state": "blocked", "lastError": error})})
    blocked = await world.state(event_id)
    assert (blocked["state"], blocked["pipelineState"], blocked["lastError"]) == ("pending", "blocked", error)
    world.ledger.pause("p", paused=True)
    assert (await world.state(event_id))["pipelineState"] == "paused"


async def test_a_delivered_event_is_told_with_place_time_and_attempts(world):
    event_id = await world.publish()
    world.finish(2, receipts=[receipt("p", [1], STREAM, at=2_000_000, attempts=4)])
    delivered = {"state": "delivered", "at": AT, "attempts": 4, "where": STREAM}
    assert await world.state(event_id) == delivered


async def test_what_is_delivered_before_its_neighbours_is_not_pending(world):
    ids = [await world.publish() for _ in range(3)]
    progress = Progress(1)
    progress.finish(3)
    done = receipt("p", [3], STREAM, at=1, attempts=1)
    world.ledger.commit([Update("p", progress, receipts=[done])])
    assert [(await world.state(one))["state"] for one in ids] == ["pending", "pending", "delivered"]


async def test_events_of_one_batch_that_went_to_several_streams_each_have_their_own(world):
    ids = [await world.publish() for _ in range(60)]
    streams = [{"logStream": f"tenant-{n}"} for n in range(20)]
    receipts = [receipt("p", range(n + 1, 61, 20), streams[n], at=1, attempts=1) for n in range(20)]
    world.finish(61, receipts=receipts)
    found = [(await world.state(one))["where"]["logStream"] for one in ids]
    assert found == [f"tenant-{n % 20}" for n in range(60)]


async def test_a_filtered_event_is_told_with_the_rule_or_the_sampling(world):
    event_id = await world.publish()
    world.finish(2, filtered=1)
    rule = {"field": "eventType", "operator": "eq", "value": "other"}
    world.configured(condition={"rules": [rule]})
    expected = "condition.rules[0] does not hold: eventType eq other"
    assert await world.state(event_id) == {"state": "filtered", "reason": expected}
    world.configured(condition={"match": "any", "rules": [rule, rule]})
    assert (await world.state(event_id))["reason"] == "none of the condition's rules holds"
    world.configured(sample=0)
    assert (await world.state(event_id))["reason"] == "sampled out: 0 of the events are kept"
    world.configured()
    assert "a transformer dropped it" in (await world.state(event_id))["reason"]


async def test_a_dead_letter_is_told_with_its_number_and_reason_until_it_is_delivered(world):
    event_id = await world.publish()
    world.finish(2, letters=[letter(1)])
    dead = {"state": "deadLettered", "letter": 1, "code": "Bad", "reason": "no", "attempts": 3, "at": AT}
    assert await world.state(event_id) == dead
    world.ledger.replay(Selection(), Replay(), at=1)
    assert await world.state(event_id) == dead | {"state": "replaying"}
    handed = Handed([1], json.dumps(STREAM), at=2_000_000, attempts=1)
    world.ledger.commit([], Replayed(delivered=[handed]))
    delivered = {"state": "delivered", "at": AT, "attempts": 1, "where": STREAM}
    assert await world.state(event_id) == delivered


async def test_a_purged_letter_leaves_its_trace(world):
    event_id = await world.publish()
    world.finish(2, letters=[letter(1)])
    world.ledger.purge(Selection())
    state = await world.state(event_id)
    assert (state["state"], state["reason"]) == ("purged", "its dead letter was deleted")


async def test_every_event_of_a_lost_run_is_dead_lettered(world):
    ids = [await world.publish() for _ in range(5)]
    lost = DeadLetter("p", 2, LOST, "the journal lost it", count=3)
    delivered = [receipt("p", [1, 5], STREAM, at=1, attempts=1)]
    world.finish(6, letters=[lost], receipts=delivered)
    states = [await world.state(one) for one in ids]
    assert [state["state"] for state in states] == ["delivered", *["deadLettered"] * 3, "delivered"]
    assert {state["code"] for state in states[1:4]} == {LOST}


async def test_one_id_of_two_tenants_is_two_events(world):
    event_id = await world.publish("acme", "other")
    assert (await world.get(event_id)).json()["tenant"] == "other"
    found = {tenant: (await world.get(event_id, tenant=tenant)).json() for tenant in ("acme", "other")}
    assert {tenant: one["sequence"] for tenant, one in found.items()} == {"acme": 1, "other": 2}
    assert {one["tenant"] for one in found.values()} == {"acme", "other"}
    assert (await world.get(event_id, tenant="third")).status_code == 404
    assert (await world.get(event_id, tenant="a\x1b[31m")).status_code in {400, 422}


async def test_upper_and_lower_case_of_an_id_are_the_same(world):
    event_id = await world.publish()
    answer = await world.get(event_id.upper())
    assert answer.json()["eventId"] == event_id


@pytest.mark.parametrize("event_id", ["nonsense", "0198c5d2", "g" * 36, "%0a" + "0" * 32])
async def test_a_malformed_id_is_refused_by_name(world, event_id):
    answer = await world.get(event_id)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("eventId: expected a UUID")


async def test_an_unknown_id_is_not_found_and_the_setting_that_decides_is_named(world):
    answer = await world.get(str(uuid.uuid4()))
    assert answer.status_code == 404
    assert "journal.dedup-window" in answer.json()["message"]


async def test_after_retention_neither_receipt_nor_a_guess_is_given(world):
    event_id = await world.publish()
    world.finish(2, receipts=[receipt("p", [1], STREAM, at=2_000_000, attempts=1)])
    world.now += HOUR
    world.ledger.forget_receipts(before=int(world.now * 1000))
    # the block is still there, as when another pipeline needs it: no transformer is to be blamed
    assert (await world.state(event_id))["state"] == "ended"


async def test_an_evicted_event_is_known_by_its_receipt(world):
    event_id = await world.publish("acme")
    world.finish(2, receipts=[receipt("p", [1], STREAM, at=2_000_000, attempts=1)])
    del world.journal._blocks[:]
    answer = (await world.get(event_id)).json()
    assert (answer["tenant"], answer["acceptedAt"]) == (None, None)
    assert answer["pipelines"][0]["where"] == STREAM
    world.ledger.forget_receipts(before=3_000_000)
    assert (await world.state(event_id))["state"] == "ended"


async def test_a_damaged_block_does_not_hide_what_became_of_its_events(client, tmp_path):
    journal = SqliteJournal(tmp_path / "j.db", max_size=2**30, retention=HOUR, dedup_window=HOUR)
    world = World(client, journal)
    event_id = await world.publish("acme")
    world.finish(2, receipts=[receipt("p", [1], STREAM, at=2_000_000, attempts=1)])
    journal._connection.execute("UPDATE block SET payload = x'00'").fetchall()
    answer = (await world.get(event_id)).json()
    assert (answer["tenant"], answer["pipelines"][0]["state"]) == (None, "delivered")
    journal.close()


async def test_what_only_the_fallback_has_says_that_the_sink_is_to_get_it_too(world):
    event_id = await world.publish()
    place = {"destination": "second", "fallback": True}
    first = receipt("p", [1], place, at=2_000_000, attempts=2, owed=True)
    world.finish(2, delivered=1, receipts=[first])
    expected = {"state": "delivered", "at": AT, "attempts": 2, "where": place}
    assert await world.state(event_id) == expected | {"backfilling": True}
    paid = [each.id for each in world.ledger.owed("p")]
    world.finish(2, receipts=[receipt("p", [1], STREAM, at=2_000_000, attempts=1)], paid=paid)
    assert await world.state(event_id) == expected | {"attempts": 1, "where": STREAM}


async def test_an_event_that_is_delivered_again_is_pending_until_it_has_ended(world):
    event_id = await world.publish()
    world.finish(2, delivered=1, receipts=[receipt("p", [1], STREAM, at=2_000_000, attempts=1)])
    world.ledger.deliver_again("p", 1, 2, "x")
    state = await world.state(event_id)
    assert (state["state"], state["again"], state["ahead"]) == ("pending", True, 0)
    (account,) = world.ledger.accounts()
    world.finish(2, delivered=1, replay_range=account.replay_ranges[0].id)
    assert (await world.state(event_id))["state"] == "delivered"


async def test_a_replay_of_what_came_before_the_pipeline_is_told(world):
    event_id = await world.publish()
    world.ledger.register(["later"], world.journal.head(), 1)
    world.ledger.deliver_again("later", 1, 2, "x")
    (account,) = [each for each in world.ledger.accounts() if each.active]
    done = receipt("later", [1], STREAM, at=2_000_000, attempts=1)
    world.ledger.commit(
        [Update("later", Progress(2), delivered=1, receipts=[done], replay_range=account.replay_ranges[0].id)]
    )
    (state,) = (await world.get(event_id)).json()["pipelines"]
    assert (state["state"], state["where"]) == ("delivered", STREAM)
