"""While the first destination fails for long the fallback delivers, and afterwards the first one gets it, too."""

from __future__ import annotations

import asyncio
import json

import pytest

from auditflow.pipelines.decide.decision import Decide
from auditflow.pipelines.deliver import dispatcher as dispatcher_module
from auditflow.pipelines.deliver.policy import DeliveryPolicy
from auditflow.sinks._base import BatchLimits, Outcome, Verdict
from auditflow.testing.recording_sink import RecordingSink

RETRY = Outcome(Verdict.RETRY, "Throttled", "too fast")
BLOCKED = Outcome(Verdict.BLOCKED, "AccessDenied", "not allowed", "allow it")
REJECTED = Outcome(Verdict.REJECTED, "Bad", "cannot be")
FAILING = 10_000

pytestmark = pytest.mark.usefixtures("quick_retries")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher_module, "pause", lambda *_: 0.005)


@pytest.fixture
def second() -> RecordingSink:
    return RecordingSink()


def at_once(**more: object) -> DeliveryPolicy:
    return DeliveryPolicy.model_validate({"fallback-after": 0} | more)


async def test_the_fallback_takes_over_while_the_sink_fails_and_says_so(world, sink, second):
    sink.answer(BLOCKED, times=FAILING)
    async with world.running(sink, policy=at_once(), fallback=second):
        events = await world.publish(3)
        account = await world.settled()
        await world.until(lambda: world.condition()["state"] == "fallback")
    assert (second.delivered, sink.delivered) == (events, [])
    assert (account.delivered, account.owed) == (3, 0)
    assert world.condition()["lastError"]["code"] == "AccessDenied"
    receipt = world.ledger.receipt_of("p", 1)
    assert json.loads(receipt.place) == {"destination": "recording", "fallback": True}


async def test_before_its_time_the_sink_alone_is_tried(world, sink, second):
    sink.answer(RETRY, times=5)
    async with world.running(sink, policy=at_once(**{"fallback-after": 3600}), fallback=second):
        events = await world.publish(3)
        await world.settled()
    assert (second.calls, sink.delivered) == ([], events)


async def test_the_sink_is_tried_on_and_takes_over_again(world, sink, second):
    sink.answer(RETRY, times=4)
    async with world.running(sink, policy=at_once(), fallback=second):
        while not sink.delivered:
            await world.publish(1)
            await world.settled()
        taken = len(second.delivered)
        await world.publish(1)
        await world.settled()
        await world.until(lambda: world.condition()["state"] == "active")
    assert len(second.delivered) == taken
    assert len(sink.calls) <= world.number


async def test_what_would_be_given_up_goes_to_the_fallback_instead(world, sink, second):
    sink.answer(RETRY, times=FAILING)
    policy = at_once(**{"fallback-after": 3600, "max-attempts": 2})
    async with world.running(sink, policy=policy, fallback=second):
        events = await world.publish(1)
        account = await world.settled()
    assert (account.delivered, account.dead_lettered, second.delivered) == (1, 0, events)


async def test_when_both_fail_the_policy_decides_and_counts_calls_of_the_sink_only(world, sink, second):
    sink.answer(RETRY, times=FAILING)
    second.answer(RETRY, times=FAILING)
    async with world.running(sink, policy=at_once(**{"max-attempts": 3}), fallback=second):
        await world.publish(1)
        account = await world.settled()
    (letter,) = world.ledger.dead_letters()
    assert letter.code == "Throttled"
    assert (account.dead_lettered, len(sink.calls)) == (1, 3)
    assert account.attempts == len(sink.calls) + len(second.calls)


async def test_when_both_fail_for_long_events_are_held_and_go_to_who_works_first(world, sink, second):
    sink.answer(RETRY, times=FAILING)
    second.answer(BLOCKED, times=FAILING)
    async with world.running(sink, policy=at_once(), fallback=second):
        events = await world.publish(2)
        await second.wait_until(lambda: len(second.calls) > 2)
        await world.until(lambda: world.condition()["state"] == "retrying")
        sink.clear()
        account = await world.settled()
    assert (account.delivered, sink.delivered) == (2, events)


async def test_what_the_fallback_refuses_waits_for_the_sink(world, sink, second):
    sink.answer(RETRY, times=FAILING)
    second.answer(REJECTED, times=FAILING)
    async with world.running(sink, policy=at_once(), fallback=second):
        events = await world.publish(1)
        await second.wait_until(lambda: second.calls)
        sink.clear()
        account = await world.settled()
    assert (account.dead_lettered, sink.delivered) == (0, events)


async def test_what_the_sink_refuses_is_dead_and_does_not_go_to_the_fallback(world, sink, second):
    sink.script(lambda events: [REJECTED, *[RETRY] * (len(events) - 1)])
    sink.answer(RETRY, times=FAILING)
    async with world.running(sink, policy=at_once(), fallback=second):
        events = await world.publish(3)
        account = await world.settled()
    assert (account.dead_lettered, second.delivered) == (1, events[1:])


async def test_backfill_brings_the_sink_what_went_to_the_fallback_once(world, sink, second):
    sink.answer(RETRY, times=FAILING)
    async with world.running(sink, policy=at_once(), fallback=second, backfill=True):
        events = await world.publish(5)
        account = await world.settled()
        assert (account.delivered, account.owed) == (5, 5)
        assert world.ledger.finished() == 1
        sink.clear()
        await world.until(lambda: world.account().owed == 0)
        await world.until(lambda: world.condition()["state"] == "active")
    assert (second.delivered, sink.delivered) == (events, events)
    account = world.account()
    assert (account.delivered, account.dead_lettered) == (5, 0)
    assert world.ledger.finished() == 6
    assert json.loads(world.ledger.receipt_of("p", 3).place) == {"destination": "recording"}


async def test_backfill_goes_on_after_a_restart(world, sink, second):
    sink.answer(RETRY, times=FAILING)
    async with world.running(sink, policy=at_once(), fallback=second, backfill=True):
        events = await world.publish(2)
        await world.settled()
    again = RecordingSink()
    async with world.running(again):  # even when the configuration has no fallback any more
        await world.until(lambda: world.account().owed == 0)
    assert again.delivered == events


async def test_condition_and_sampling_do_not_count_a_second_time_but_transformers_do(world, sink, second):
    def mark(event: dict, _: dict) -> dict:
        return event | {"marked": True}

    decide = Decide(lambda event: json.loads(event)["n"] != 1, [(mark, {})])
    sink.answer(RETRY, times=FAILING)
    async with world.running(sink, decide, at_once(), fallback=second, backfill=True):
        await world.publish(3)
        account = await world.settled()
        assert (account.delivered, account.filtered, account.owed) == (2, 1, 2)
        sink.clear()
        await world.until(lambda: world.account().owed == 0)
    assert sink.delivered == second.delivered
    assert [json.loads(event)["n"] for event in sink.delivered] == [0, 2]


async def test_what_the_sink_refuses_at_last_becomes_a_dead_letter(world, sink, second):
    sink.answer(RETRY, times=FAILING)
    async with world.running(sink, policy=at_once(), fallback=second, backfill=True):
        await world.publish(2)
        await world.settled()
        sink.clear()
        sink.script(lambda events: [Outcome(Verdict.DELIVERED)] * (len(events) - 1) + [REJECTED])
        await world.until(lambda: world.account().owed == 0)
    account = world.account()
    assert (account.delivered, account.dead_lettered) == (1, 1)
    assert [(letter.sequence, letter.code) for letter in world.ledger.dead_letters()] == [(2, "Bad")]


async def test_what_the_journal_has_lost_meanwhile_is_said(world, sink, second):
    sink.answer(RETRY, times=FAILING)
    async with world.running(sink, policy=at_once(), fallback=second, backfill=True):
        await world.publish(2)
        await world.settled()
    world.journal._blocks.clear()
    async with world.running(RecordingSink()):
        await world.until(lambda: world.account().owed == 0)
    assert {letter.code for letter in world.ledger.dead_letters()} == {"LOST_IN_JOURNAL"}
    assert (world.account().delivered, world.account().dead_lettered) == (0, 2)


async def test_receipts_that_interleave_are_read_together_and_paid_in_the_order_of_events(world, sink):
    places = [{"n": 0}, {"n": 1}]
    second = RecordingSink()
    second.script(
        lambda events: [Outcome(Verdict.DELIVERED, where=places[i % 2]) for i in range(len(events))]
    )
    sink.answer(RETRY, times=FAILING)
    async with world.running(sink, policy=at_once(), fallback=second, backfill=True):
        events = await world.publish(6)
        await world.settled()
        assert len(world.ledger.owed("p")) == 2
        sink.clear()
        await world.until(lambda: world.account().owed == 0)
    assert sink.delivered == events


async def test_an_ambiguous_end_before_the_fallback_counts_as_possible_duplicate_when_it_is_owed(
    world, sink, second
):
    sink.answer(Outcome(Verdict.RETRY, "Reset", "no answer", ambiguous=True))
    async with world.running(sink, policy=at_once(), fallback=second, backfill=True):
        await world.publish(2)
        await world.until(lambda: len(sink.delivered) == 2)
        await world.until(lambda: world.account().owed == 0)
    assert world.account().duplicates == 2


async def test_a_batch_with_a_problem_of_its_own_falls_back_while_others_get_through(world, second):
    sink = RecordingSink(BatchLimits(events=1))
    stuck = b'"n":0,'
    for _ in range(200):
        sink.script(lambda events: [RETRY if stuck in events[0] else Outcome(Verdict.DELIVERED)])
    async with world.running(sink, policy=at_once(**{"fallback-after": 0.05}), fallback=second):
        await world.publish(3)
        world.now += 1
        account = await world.settled()
    assert account.delivered == 3
    assert [json.loads(event)["n"] for event in second.delivered] == [0]


async def test_a_pause_holds_the_fallback_too(world, sink, second):
    sink.answer(RETRY, times=FAILING)
    async with world.running(sink, policy=at_once(), fallback=second):
        world.gate.pause(paused=True)
        await world.publish(1)
        await asyncio.sleep(0.05)
        assert second.calls == []
        world.gate.pause(paused=False)
        await world.settled()
