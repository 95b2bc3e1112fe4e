"""A stretch of the journal is delivered again beside what is new, and accounted for once more."""

from __future__ import annotations

import json

import pytest

from auditflow.pipelines.decide.decision import Decide
from auditflow.sinks._base import BatchLimits, Outcome, Verdict
from auditflow.testing.recording_sink import RecordingSink

REJECTED = Outcome(Verdict.REJECTED, "Bad", "cannot be")
RETRY = Outcome(Verdict.RETRY, "Throttled", "too fast")

pytestmark = pytest.mark.usefixtures("quick_retries")


def again(world, first: int, end: int, asked: str = "x") -> None:
    world.ledger.deliver_again("p", first, end, asked)
    world.again.wake()


async def test_exactly_the_stretch_is_delivered_again(world, sink):
    async with world.running(sink):
        events = [event for _ in range(4) for event in await world.publish(5)]
        await world.settled()
        again(world, 4, 13)
        account = await world.settled()
    assert sink.delivered == events + events[3:12]
    assert (account.delivered, account.again, account.replay_ranges) == (29, 9, [])
    assert world.ledger.finished() == 21


async def test_condition_and_letters_count_once_more(world, sink):
    decide = Decide(lambda event: json.loads(event)["n"] % 2 == 0)
    async with world.running(sink, decide):
        await world.publish(6)
        await world.settled()
        sink.script(lambda events: [REJECTED] + [Outcome(Verdict.DELIVERED)] * (len(events) - 1))
        again(world, 1, 7)
        account = await world.settled()
    assert (account.delivered, account.filtered, account.dead_lettered) == (5, 6, 1)
    assert [letter.sequence for letter in world.ledger.dead_letters()] == [1]


async def test_it_goes_on_after_a_restart_where_it_was(world):
    sink = RecordingSink(BatchLimits(events=2))
    async with world.running(sink):
        events = await world.publish(8)
        await world.settled()
        sink.delivered.clear()
        for _ in range(2):
            sink.script(lambda events: [Outcome(Verdict.DELIVERED)] * len(events))
        sink.answer(RETRY, times=10_000)
        again(world, 1, 9)
        await world.until(lambda: world.account().pending(9) <= 4)
        done = (
            world.account().replay_ranges[0].progress.beyond()
            + world.account().replay_ranges[0].progress.low
            - 1
        )
    rest = RecordingSink()
    async with world.running(rest):
        await world.settled()
    assert 4 <= done < 8
    assert len(rest.delivered) == 8 - done
    assert set(rest.delivered) <= set(events)


async def test_several_stretches_follow_one_another_and_new_events_do_not_wait(world, sink):
    async with world.running(sink):
        events = await world.publish(4)
        await world.settled()
        again(world, 1, 3, "x")
        again(world, 2, 5, "y")
        events += await world.publish(2)
        account = await world.settled()
    assert account.delivered == 6 + 5
    assert sorted(sink.delivered) == sorted(events + events[:2] + events[1:4])


async def test_what_the_journal_no_longer_holds_is_said(world, sink):
    async with world.running(sink):
        for _ in range(3):
            await world.publish(2)
        await world.settled()
    world.journal._blocks[:] = world.journal._blocks[:1]
    async with world.running(sink):
        again(world, 1, 7)
        await world.publish(1)
        account = await world.settled()
    assert (account.delivered, account.dead_lettered) == (9, 4)
    assert {letter.code for letter in world.ledger.dead_letters()} == {"LOST_IN_JOURNAL"}


async def test_what_hinders_it_is_shown_as_the_pipelines(world, sink):
    async with world.running(sink):
        await world.publish(2)
        await world.settled()
        sink.answer(Outcome(Verdict.BLOCKED, "AccessDenied", "not allowed"), times=10_000)
        again(world, 1, 3)
        await world.until(lambda: world.condition()["state"] == "blocked")
        sink.clear()
        await world.settled()
        await world.until(lambda: world.condition()["state"] == "active")
        assert world.account().delivered == 4


async def test_a_pipeline_pauses_and_stops_with_it(world, sink):
    async with world.running(sink):
        events = await world.publish(2)
        await world.settled()
        world.gate.pause(paused=True)
        again(world, 1, 3)
    assert sink.delivered == events
    assert json.loads(world.account().condition)["state"] == "active"
