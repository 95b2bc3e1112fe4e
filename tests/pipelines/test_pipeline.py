"""A pipeline brings every event to one end, whatever its sink says, and its counts balance at every moment."""

from __future__ import annotations

import asyncio
import json
import random

import pytest

from auditflow.errors import JournalDamaged, JournalUnavailable, MissingExtra
from auditflow.ledger import LOST
from auditflow.pipelines.decide import intake as intake_module
from auditflow.pipelines.decide.decision import Decide
from auditflow.pipelines.deliver.destination import Destination
from auditflow.pipelines.deliver.dispatcher import DeliveryTarget
from auditflow.pipelines.deliver.pause_gate import PauseGate
from auditflow.pipelines.deliver.policy import DeliveryPolicy
from auditflow.pipelines.pipeline import Pipeline
from auditflow.pipelines.read.tail import TailReader
from auditflow.pipelines.record import recorder as recorder_module
from auditflow.pipelines.record.outcomes import PipelineOutcomes
from auditflow.pipelines.record.recorder import Recorder
from auditflow.sinks._base import DELIVERED, BatchLimits, Outcome, Verdict
from auditflow.testing.recording_sink import RecordingSink

RETRY = Outcome(Verdict.RETRY, "Throttled", "too fast")
BLOCKED = Outcome(Verdict.BLOCKED, "AccessDenied", "not allowed", "add the permission")
REJECTED = Outcome(Verdict.REJECTED, "Bad", "cannot be")

pytestmark = pytest.mark.usefixtures("quick_retries")


def policy(**settings: object) -> DeliveryPolicy:
    return DeliveryPolicy.model_validate({name.replace("_", "-"): value for name, value in settings.items()})


async def test_events_are_delivered_in_order_and_untouched(world, sink):
    async with world.running(sink):
        events = await world.publish(3) + await world.publish(2)
        account = await world.settled()
    assert sink.delivered == events
    assert account.delivered == 5


async def test_filtered_events_count_as_filtered_and_never_reach_the_sink(world, sink):
    async with world.running(sink, Decide(lambda event: json.loads(event)["n"] % 3 == 0)):
        events = await world.publish(10)
        account = await world.settled()
    assert sink.delivered == [events[0], events[3], events[6], events[9]]
    assert (account.delivered, account.filtered) == (4, 6)


async def test_a_batch_never_exceeds_what_the_sink_takes(world):
    sink = RecordingSink(BatchLimits(events=3))
    async with world.running(sink):
        await world.publish(8)
        await world.settled()
    assert sorted(len(call) for call in sink.calls) == [2, 3, 3]


async def test_small_blocks_linger_to_become_one_batch(world):
    sink = RecordingSink(BatchLimits(events=100, linger=0.2))
    async with world.running(sink):
        for _ in range(5):
            await world.publish(2)
        await world.settled()
    assert [len(call) for call in sink.calls] == [10]


async def test_what_a_full_batch_leaves_over_lingers_again(world):
    sink = RecordingSink(BatchLimits(events=2, linger=1.0))
    async with world.running(sink):
        await world.publish(1)
        await asyncio.sleep(0.6)
        await world.publish(2)
        await asyncio.sleep(0.6)  # the first event's time is over, but it has left
        await world.publish(1)
        await world.settled()
    assert [len(call) for call in sink.calls] == [2, 2]


async def test_only_what_failed_is_sent_again(world, sink):
    sink.script(lambda events: [RETRY if i in {1, 3} else DELIVERED for i in range(len(events))])
    async with world.running(sink):
        events = await world.publish(5)
        account = await world.settled()
    assert sink.calls == [events, [events[1], events[3]]]
    assert (account.delivered, account.attempts) == (5, 2)


async def test_a_retry_goes_on_without_limit_by_default(world, sink):
    sink.answer(RETRY, times=25)
    async with world.running(sink):
        await world.publish(2)
        account = await world.settled()
    assert (account.delivered, account.attempts) == (2, 26)


async def test_a_rejected_event_becomes_a_dead_letter_with_its_cause(world, sink):
    sink.script(lambda events: [DELIVERED, REJECTED, DELIVERED])
    async with world.running(sink):
        events = await world.publish(3)
        account = await world.settled()
    (letter,) = world.ledger.dead_letters()
    assert (account.delivered, account.dead_lettered) == (2, 1)
    assert (letter.pipeline, letter.sequence, letter.code, letter.reason, letter.event) == (
        "p",
        2,
        "Bad",
        "cannot be",
        events[1],
    )
    assert letter.attempts == 1


async def test_max_attempts_turns_exhaustion_into_dead_letters(world, sink):
    sink.answer(RETRY, times=3)
    async with world.running(sink, policy=policy(max_attempts=3)):
        await world.publish(2)
        account = await world.settled()
    assert (account.dead_lettered, account.attempts) == (2, 3)
    letter = world.ledger.dead_letters()[0]
    assert (letter.code, letter.reason, letter.attempts) == (
        "Throttled",
        "gave up after 3 attempts: too fast",
        3,
    )


async def test_max_age_turns_exhaustion_into_dead_letters(world, sink):
    sink.answer(RETRY, times=1)
    world.journal._clock = lambda: 1000.0
    world.now = 1000.0 + 61
    async with world.running(sink, policy=policy(max_age=60)):
        await world.publish(1)
        account = await world.settled()
    assert account.dead_lettered == 1
    assert "max-age" in world.ledger.dead_letters()[0].reason


async def test_what_is_delivered_late_is_delivered(world, sink):
    world.journal._clock = lambda: 1000.0
    world.now = 1000.0 + 3600
    async with world.running(sink, policy=policy(max_age=60)):
        await world.publish(1)
        account = await world.settled()
    assert (account.delivered, account.dead_lettered) == (1, 0)


async def test_a_blocked_destination_holds_its_events_says_why_and_resumes_by_itself(world, sink):
    sink.answer(BLOCKED, times=100_000)
    async with world.running(sink):
        await world.publish(3)
        await world.until(lambda: world.condition().get("state") == "blocked")
        sink.clear()
        error = world.condition()["lastError"]
        account = await world.settled()
        await world.until(lambda: world.condition().get("state") == "active")
    assert (error["code"], error["message"], error["hint"]) == (
        "AccessDenied",
        "not allowed",
        "add the permission",
    )
    assert (account.delivered, account.dead_lettered) == (3, 0)


async def test_when_blocked_dead_letter_is_the_other_choice(world, sink):
    sink.answer(BLOCKED)
    async with world.running(sink, policy=policy(when_blocked="dead-letter")):
        await world.publish(3)
        account = await world.settled()
    assert account.dead_lettered == 3


async def test_max_attempts_does_not_give_up_what_is_held(world, sink):
    sink.answer(BLOCKED, times=5)
    async with world.running(sink, policy=policy(max_attempts=2)):
        await world.publish(1)
        account = await world.settled()
    assert (account.delivered, account.dead_lettered) == (1, 0)


async def test_while_a_destination_fails_one_call_at_a_time_tries_it(world):
    sink = RecordingSink(BatchLimits(events=1))
    sink.answer(RETRY, times=1)
    async with world.running(sink, policy=policy(max_in_flight=1)):
        await world.publish(1)
        await world.settled()
    sink.gate.clear()
    destination = Destination(sink)
    destination.failures = 1
    gate = PauseGate()
    calls = [asyncio.create_task(destination.deliver([b"x"], gate)) for _ in range(4)]
    before = len(sink.calls)
    await sink.wait_until(lambda: len(sink.calls) > before)
    await asyncio.sleep(0.02)
    assert len(sink.calls) == before + 1
    sink.gate.set()
    await asyncio.gather(*calls)
    assert len(sink.calls) == before + 4


async def test_max_in_flight_bounds_the_calls_at_once(world):
    sink = RecordingSink(BatchLimits(events=1))
    sink.gate.clear()
    async with world.running(sink, policy=policy(max_in_flight=2)):
        await world.publish(6)
        await sink.wait_until(lambda: len(sink.calls) == 2)
        await asyncio.sleep(0.02)
        assert len(sink.calls) == 2
        sink.gate.set()
        account = await world.settled()
    assert account.delivered == 6


async def test_an_ambiguous_end_is_counted_as_possible_duplicate(world, sink):
    sink.answer(Outcome(Verdict.RETRY, "ReadTimeout", "no answer", ambiguous=True))
    async with world.running(sink):
        await world.publish(4)
        account = await world.settled()
    assert (account.delivered, account.duplicates) == (4, 4)


async def test_a_sink_that_raises_is_tried_again(world, sink):
    def broken(_):
        raise RuntimeError("bug")

    sink.script(broken)
    async with world.running(sink):
        await world.publish(1)
        account = await world.settled()
    assert (account.delivered, account.attempts) == (1, 2)


async def test_a_sink_that_gives_the_wrong_number_of_outcomes_is_tried_again(world, sink):
    sink.script(lambda _: [DELIVERED])
    async with world.running(sink):
        await world.publish(2)
        account = await world.settled()
    assert (account.delivered, account.attempts) == (2, 2)


async def test_a_sink_that_cannot_open_blocks_with_the_hint_and_opens_later(world, sink):
    installed = False

    async def open_() -> None:
        if not installed:
            raise MissingExtra(what="sink", package="boto3", extra="aws")

    sink.open = open_
    async with world.running(sink):
        await world.publish(1)
        await world.until(lambda: world.condition().get("state") == "blocked")
        assert "auditflow-server[aws]" in world.condition()["lastError"]["hint"]
        installed = True
        assert (await world.settled()).delivered == 1


async def test_what_was_finished_before_a_stop_is_not_repeated_and_the_rest_is(world):
    stuck = Outcome(Verdict.RETRY, "Down", retry_after=3600)
    sink = RecordingSink(BatchLimits(events=2))
    sink.script(lambda events: [stuck, DELIVERED])
    async with world.running(sink):
        events = await world.publish(2)
        await world.until(lambda: world.account().delivered == 1)
    assert world.account().progress.low == 1
    again = RecordingSink()
    async with world.running(again):
        await world.settled()
    assert again.delivered == [events[0]]


async def test_a_stop_lets_the_call_under_way_finish(world, sink):
    sink.gate.clear()

    async def release_later() -> None:
        await sink.wait_until(lambda: bool(sink.calls))
        await asyncio.sleep(0.05)
        sink.gate.set()

    releasing = asyncio.create_task(release_later())
    async with world.running(sink):
        await world.publish(1)
        await sink.wait_until(lambda: bool(sink.calls))
    await releasing
    assert world.account().delivered == 1


async def test_an_event_that_became_three_counts_once(world, sink):
    def thrice(event, _):
        return [event | {"part": i} for i in range(3)]

    sink.script(lambda events: [DELIVERED, RETRY, DELIVERED])
    async with world.running(sink, Decide(transforms=[(thrice, {})])):
        await world.publish(1)
        account = await world.settled()
    assert account.delivered == 1
    assert [len(call) for call in sink.calls] == [3, 1]


async def test_a_failing_transformer_dead_letters_the_original_event(world, sink):
    def fails(event, _):
        raise ValueError("no actor")

    async with world.running(sink, Decide(transforms=[(fails, {})])):
        events = await world.publish(1)
        account = await world.settled()
    letter = world.ledger.dead_letters()[0]
    assert account.dead_lettered == 1
    assert (letter.code, letter.reason, letter.event) == (
        "TRANSFORM_FAILED",
        "ValueError: no actor",
        events[0],
    )


async def test_events_the_journal_has_lost_become_dead_letters_and_the_counts_still_balance(world, sink):
    world.ledger.register(["p"], world.journal.head(), world.journal.oldest())
    await world.publish(4)
    await world.publish(3)
    await world.publish(2)
    del world.journal._blocks[1]
    world.journal._blocks[0].damage, world.journal._blocks[0].events = "checksum", []
    async with world.running(sink):
        account = await world.settled()
    assert (account.delivered, account.dead_lettered) == (2, 7)
    assert {(letter.code, letter.sequence, letter.count) for letter in world.ledger.dead_letters()} == {
        (LOST, 1, 4),
        (LOST, 5, 3),
    }


async def test_a_pipeline_reads_a_backlog_and_then_follows_the_tail(world, sink):
    world.ledger.register(["p"], world.journal.head(), world.journal.oldest())
    before = [event for _ in range(50) for event in await world.publish(20)]
    async with world.running(sink):
        after = [event for _ in range(10) for event in await world.publish(20)]
        await world.settled()
    assert sink.delivered == before + after


async def test_attempts_that_found_the_destination_blocked_do_not_count_towards_max_attempts(world, sink):
    sink.answer(BLOCKED, times=5)
    sink.answer(RETRY)
    async with world.running(sink, policy=policy(max_attempts=2)):
        await world.publish(1)
        account = await world.settled()
    assert (account.delivered, account.dead_lettered) == (1, 0)


async def test_max_age_ends_what_is_held_too_and_spares_what_is_younger(world, sink):
    sink.answer(Outcome(Verdict.BLOCKED, "AccessDenied", retry_after=0.1), times=2)
    world.journal._clock = lambda: 1000.0
    world.now = 1000.0 + 60
    async with world.running(sink, policy=policy(max_age=60)):
        await world.publish(1)
        await world.until(lambda: world.account().attempts == 1)
        world.now += 1
        account = await world.settled()
    (letter,) = world.ledger.dead_letters()
    assert account.dead_lettered == 1
    assert (letter.attempts, letter.first_failed, letter.last_failed) == (2, 1_060_000, 1_061_000)


async def test_an_event_whose_parts_are_in_two_batches_ends_once_and_only_with_the_last(world):
    sink = RecordingSink(BatchLimits(events=2))
    sink.gate.clear()
    sink.script(lambda events: [DELIVERED, REJECTED])
    async with world.running(sink, Decide(transforms=[(lambda event, _: [event] * 4, {})])):
        await world.publish(1)
        await sink.wait_until(lambda: len(sink.calls) == 2)
        sink.gate.set()
        account = await world.settled()
    assert (account.delivered, account.dead_lettered, len(world.ledger.dead_letters())) == (0, 1, 1)


async def test_a_selective_pipeline_with_a_long_linger_never_waits_for_itself(world, monkeypatch):
    monkeypatch.setattr(intake_module, "MAX_AHEAD", 10)
    sink = RecordingSink(BatchLimits(linger=3600))
    async with world.running(sink, Decide(lambda event: json.loads(event)["n"] % 20 == 0)):
        for _ in range(20):
            await world.publish(5)
        await world.until(lambda: world.account().delivered >= 4)
    assert len(sink.delivered) >= 4


async def test_damage_found_by_a_pipeline_that_lags_reaches_who_runs_it(world, sink, monkeypatch):
    await world.publish(1)
    world.ledger.register(["p"], 1, 1)

    def damaged(*_):
        raise JournalDamaged(path="journal.db", reason="checksum")

    monkeypatch.setattr(world.journal, "read", damaged)
    record = PipelineOutcomes("p", world.account().progress, Recorder(world.ledger))
    pipeline = Pipeline(
        TailReader(world.journal),
        Decide(),
        DeliveryTarget(Destination(sink), DeliveryPolicy(), PauseGate()),
        record,
    )
    with pytest.raises(ExceptionGroup) as caught:
        await asyncio.wait_for(pipeline.run(), 60)
    assert caught.group_contains(JournalDamaged)


async def test_nothing_is_delivered_while_it_cannot_be_recorded_and_nothing_is_lost_or_counted_twice(
    world, monkeypatch
):
    monkeypatch.setattr(recorder_module, "RETRY_SECONDS", 0.01)
    sink = RecordingSink(BatchLimits(events=1))
    commit = world.ledger.commit

    def refuse(*_):
        raise JournalUnavailable(path="ledger.db", reason="disk full")

    async with world.running(sink):
        monkeypatch.setattr(world.ledger, "commit", refuse)
        await world.publish(1)
        await sink.wait_until(lambda: len(sink.calls) == 1)
        await asyncio.sleep(0.06)
        events = await world.publish(5)
        await asyncio.sleep(0.06)
        assert events[-1] not in sink.delivered
        monkeypatch.setattr(world.ledger, "commit", commit)
        account = await world.settled()
    assert account.delivered == 6


async def test_a_batch_that_fails_while_others_get_through_waits_by_itself(world):
    sink = RecordingSink(BatchLimits(events=1))
    sink.gate.clear()
    sink.answer(Outcome(Verdict.RETRY, "Throttled", retry_after=0.15))
    async with world.running(sink):
        await world.publish(2)
        await sink.wait_until(lambda: len(sink.calls) == 2)
        sink.gate.set()
        await sink.wait_until(lambda: len(sink.delivered) == 1)
        await world.until(lambda: world.account().delivered == 1)
        await world.settled()
    assert len(sink.calls) == 3


async def test_status_shows_the_worst_of_the_problems_and_none_once_all_are_over(world):
    sink = RecordingSink(BatchLimits(events=1))
    sink.gate.clear()
    sink.answer(RETRY)
    sink.answer(BLOCKED)
    sink.script(lambda events: [Outcome(Verdict.BLOCKED, "AccessDenied", retry_after=0.2)])
    sink.script(lambda events: [Outcome(Verdict.RETRY, "Throttled", retry_after=0.2)])
    async with world.running(sink, policy=policy(max_in_flight=2)):
        await world.publish(2)
        await sink.wait_until(lambda: len(sink.calls) == 2)
        sink.gate.set()
        await world.until(lambda: world.condition().get("state") == "blocked")
        await world.settled()
        await world.until(lambda: world.condition()["state"] == "active")


@pytest.mark.parametrize("seed", range(4))
async def test_the_counts_balance_at_every_moment_whatever_the_sink_says(world, seed):
    dice = random.Random(seed)
    answers = [DELIVERED] * 4 + [RETRY, REJECTED, BLOCKED, Outcome(Verdict.RETRY, "Timeout", ambiguous=True)]

    class Moody(RecordingSink):
        async def deliver(self, events):
            if dice.random() < 0.1:
                raise RuntimeError("bug")
            await asyncio.sleep(dice.random() * 0.002)
            return [dice.choice(answers) for _ in events]

    def transform(event, _):
        if event["n"] % 17 == 0:
            raise ValueError("no")
        return [event] * (event["n"] % 3)

    sink = Moody(BatchLimits(events=7, linger=0.001))
    for _ in range(3):
        async with world.running(sink, Decide(transforms=[(transform, {})])):
            for _ in range(5):
                await world.publish(dice.randint(1, 20))
                world.pending()
                await asyncio.sleep(0.003)
    async with world.running(sink, Decide(transforms=[(transform, {})])):
        account = await world.settled()
    assert account.progress.low == world.journal.head()
    sequences = [letter.sequence for letter in world.ledger.dead_letters(limit=1000)]
    assert len(sequences) == len(set(sequences))


async def test_status_shows_the_breaker_open_while_the_destination_fails(world, sink):
    sink.answer(RETRY, times=10_000)
    async with world.running(sink):
        await world.publish(1)
        await world.until(lambda: world.condition().get("breaker") == "open")
        sink.clear()
        await world.settled()
        await world.until(lambda: world.condition()["breaker"] == "closed")
        assert world.account().delivered == 1
