"""Dead letters are delivered again beside the pipeline's other work, at the rate asked for, and none is lost."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from auditflow.errors import JournalUnavailable
from auditflow.ledger import DeadLetter, Progress, Replay, Selection, Update
from auditflow.pipelines.decide.decision import TRANSFORM_FAILED, Decide
from auditflow.pipelines.record import recorder as recorder_module
from auditflow.pipelines.redeliver import redelivery as redelivery_module
from auditflow.sinks._base import BatchLimits, Outcome, Verdict
from auditflow.testing.recording_sink import RecordingSink

REJECTED = Outcome(Verdict.REJECTED, "Bad", "cannot be")
RETRY = Outcome(Verdict.RETRY, "Throttled", "too fast")

pytestmark = pytest.mark.usefixtures("quick_retries")


async def rejected(world, sink, count: int = 3) -> list[bytes]:
    """Let the sink reject events, so that each becomes a dead letter."""
    sink.answer(REJECTED, times=-(-count // sink.limits.events))
    events = await world.publish(count)
    account = await world.settled()
    assert account.dead_lettered == count
    return events


def replay(world, selection: Selection = Selection(), **how: object) -> int:  # noqa: B008 - it is frozen
    count = world.ledger.replay(selection, Replay(**how), int(world.now * 1000))
    world.replays.wake()
    return count


async def test_replayed_letters_are_delivered_and_gone(world, sink):
    async with world.running(sink):
        events = await rejected(world, sink)
        assert replay(world) == 3
        account = await world.settled()
    assert sink.delivered == events
    assert (account.delivered, account.dead_lettered, account.replaying) == (3, 0, 0)
    assert world.ledger.dead_letters() == []


async def test_conditions_and_sampling_do_not_count_but_transformers_do(world, sink):
    def double(event: dict, _: dict) -> list[dict]:
        return [event | {"part": 1}, event | {"part": 2}]

    decide = Decide(lambda event: json.loads(event)["n"] < 2, [(double, {})])
    async with world.running(sink, decide):
        (event, _) = await rejected(world, sink, 2)
        edited = b'{"n":7,' + event[event.index(b'"eventId"') :]
        replay(world, Selection(ids=[1]), event=edited)
        account = await world.settled()
    assert [(one["n"], one["part"]) for one in map(json.loads, sink.delivered)] == [(7, 1), (7, 2)]
    assert (account.delivered, account.dead_lettered) == (1, 1)


async def test_one_that_fails_again_is_dead_again_with_its_history(world, sink):
    async with world.running(sink):
        await rejected(world, sink, 1)
        sink.answer(RETRY, times=2)
        sink.script(lambda _: [Outcome(Verdict.REJECTED, "Worse", "still not")])
        world.now += 5
        replay(world)
        account = await world.settled()
    (letter,) = world.ledger.dead_letters()
    assert (letter.code, letter.reason, letter.attempts, letter.target) == ("Worse", "still not", 3, "")
    assert [one["code"] for one in json.loads(letter.history)] == ["Bad"]
    assert (account.delivered, account.dead_lettered) == (0, 1)


async def test_what_a_transformer_drops_or_refuses_ends_there(world, sink):
    fixed = False

    def transform(event: dict, _: dict) -> dict | None:
        if event["n"] == 0 and fixed:
            return None
        raise ValueError("still broken")

    async with world.running(sink, Decide(transforms=[(transform, {})])):
        await world.publish(2)
        await world.settled()
        fixed = True
        replay(world)
        account = await world.settled()
    (letter,) = world.ledger.dead_letters()
    assert (letter.code, letter.sequence, letter.reason) == (TRANSFORM_FAILED, 2, "ValueError: still broken")
    assert (account.filtered, account.dead_lettered, account.delivered) == (1, 1, 0)


async def test_letters_wait_at_the_start_for_who_asked_before(world, sink):
    event = b'{"n":0,"eventId":"e"}'
    world.ledger.register(["p"], 1, 1)
    world.ledger.commit([Update("p", Progress(2), letters=[DeadLetter("p", 1, "Bad", "no", event)])])
    world.ledger.replay(Selection(), Replay(), at=1)
    async with world.running(sink):
        await sink.wait_until(lambda: sink.delivered == [event])


async def test_a_rate_is_kept(world, sink):
    async with world.running(sink):
        await rejected(world, sink, 12)
        started = time.monotonic()
        replay(world, rate=40.0)
        await world.settled()
        took = time.monotonic() - started
    assert len(sink.delivered) == 12
    assert took >= (12 - 4) / 40  # four go at a time, and nothing waits behind the last ones


async def test_a_slow_replay_does_not_hold_up_new_events(world, sink):
    async with world.running(sink):
        await rejected(world, sink, 5)
        replay(world, rate=1.0)
        events = await world.publish(50)
        await sink.wait_until(lambda: set(events) <= set(sink.delivered), seconds=2)
        assert world.account().replaying > 0


async def test_a_paused_pipeline_delivers_nothing_until_it_goes_on(world, sink):
    async with world.running(sink):
        old = await rejected(world, sink, 2)
        calls = len(sink.calls)
        world.gate.pause(paused=True)
        replay(world)
        new = await world.publish(3)
        with pytest.raises(TimeoutError):
            await sink.wait_until(lambda: len(sink.calls) > calls, seconds=0.2)
        world.gate.pause(paused=False)
        await world.settled()
    assert sorted(sink.delivered) == sorted(old + new)


async def test_a_paused_pipeline_stops_at_once(world, sink):
    async with world.running(sink):
        world.gate.pause(paused=True)
        await world.publish(3)
        await asyncio.sleep(0.05)  # its batch stands before the gate
    assert sink.calls == []
    assert world.pending() == 3


async def test_nothing_is_sent_twice_when_more_is_asked_meanwhile(world):
    sink = RecordingSink(BatchLimits(events=2))
    async with world.running(sink):
        await rejected(world, sink, 6)
        sink.gate.clear()
        replay(world, Selection(ids=[1, 2, 3, 4]))
        calls = len(sink.calls)
        await sink.wait_until(lambda: len(sink.calls) > calls)
        replay(world, Selection(ids=[5, 6]))
        sink.gate.set()
        world.replays.wake()
        await world.settled()
    assert len(sink.delivered) == len(set(sink.delivered)) == 6


async def test_a_ledger_that_cannot_be_read_is_asked_again(world, sink, monkeypatch):
    monkeypatch.setattr(redelivery_module, "pause", lambda *_: 0.01)
    async with world.running(sink):
        await rejected(world, sink, 1)
        look, failures = world.ledger.to_replay, [JournalUnavailable(path="ledger", reason="busy")] * 3

        def failing(*arguments: object) -> list[DeadLetter]:
            if failures:
                raise failures.pop()
            return look(*arguments)

        monkeypatch.setattr(world.ledger, "to_replay", failing)
        replay(world)
        account = await world.settled()
    assert (account.delivered, failures) == (1, [])


async def test_nothing_is_sent_while_it_cannot_be_recorded_and_nothing_twice_afterwards(
    world, sink, monkeypatch
):
    monkeypatch.setattr(recorder_module, "RETRY_SECONDS", 0.01)
    async with world.running(sink):
        await rejected(world, sink, 4)
        commit, failures = world.ledger.commit, [JournalUnavailable(path="ledger", reason="disk full")] * 5

        def failing(*arguments: object) -> None:
            if failures:
                raise failures.pop()
            commit(*arguments)

        monkeypatch.setattr(world.ledger, "commit", failing)
        replay(world, Selection(ids=[1, 2]))
        await sink.wait_until(lambda: len(sink.delivered) == 2)
        replay(world, Selection(ids=[3, 4]))
        account = await world.settled()
    assert len(sink.delivered) == len(set(sink.delivered)) == 4
    assert (account.delivered, account.dead_lettered, failures) == (4, 0, [])
