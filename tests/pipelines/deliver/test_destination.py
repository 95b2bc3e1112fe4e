"""A destination that fails is tried by one call at a time, after a growing pause; the first success opens it for all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from math import inf

import pytest

from auditflow.errors import MissingExtra
from auditflow.pipelines.deliver import destination as module
from auditflow.pipelines.deliver.destination import Destination, pause
from auditflow.pipelines.deliver.pause_gate import PauseGate, Stopped
from auditflow.sinks._base import DELIVERED, Outcome, Verdict
from auditflow.testing.recording_sink import RecordingSink

RETRY = Outcome(Verdict.RETRY, "Throttled", "too fast")
BLOCKED = Outcome(Verdict.BLOCKED, "AccessDenied", "not allowed")
REJECTED = Outcome(Verdict.REJECTED, "Bad", "cannot be")


@pytest.fixture
def sink() -> RecordingSink:
    return RecordingSink()


class Tried(Destination):
    """A destination with one pipeline's gate at hand."""

    def __init__(self, sink: RecordingSink) -> None:
        super().__init__(sink)
        self.gate = PauseGate()

    async def deliver(
        self,
        events: Sequence[bytes],
        gate: PauseGate | None = None,
        patience: float = inf,
        attempts: float = inf,
    ) -> list[Outcome]:
        return await super().deliver(events, gate or self.gate, patience, attempts)


@pytest.fixture
async def destination(sink: RecordingSink, monkeypatch: pytest.MonkeyPatch) -> Tried:
    monkeypatch.setattr(module, "BACKOFF_BASE_SECONDS", 0.002)
    return Tried(sink)


async def timed(work: Awaitable[object]) -> float:
    started = time.monotonic()
    await work
    return time.monotonic() - started


async def test_while_it_works_calls_go_through_at_the_same_time(destination, sink):
    sink.gate.clear()
    calls = [asyncio.create_task(destination.deliver([b"x"])) for _ in range(3)]
    await sink.wait_until(lambda: len(sink.calls) == 3)
    sink.gate.set()
    assert await asyncio.gather(*calls) == [[DELIVERED]] * 3
    assert destination.failures == 0


async def test_failures_in_a_row_are_counted_and_a_success_forgets_them(destination, sink):
    sink.answer(RETRY, times=3)
    for failures in (1, 2, 3):
        assert await destination.deliver([b"x"]) == [RETRY]
        assert destination.failures == failures
    await destination.deliver([b"x"])
    assert destination.failures == 0


async def test_calls_that_were_under_way_together_and_fail_together_count_as_one_failure(destination, sink):
    sink.answer(RETRY, times=50)
    sink.gate.clear()
    calls = [asyncio.create_task(destination.deliver([b"x"])) for _ in range(50)]
    await sink.wait_until(lambda: len(sink.calls) == 50)
    sink.gate.set()
    await asyncio.gather(*calls)
    assert destination.failures == 1


async def test_a_rejected_event_shows_that_the_destination_works(destination, sink):
    sink.answer(RETRY)
    await destination.deliver([b"x"])
    sink.answer(REJECTED)
    await destination.deliver([b"x"])
    assert destination.failures == 0


async def test_one_event_that_got_through_is_enough_to_open_it(destination, sink):
    sink.script(lambda _: [BLOCKED, DELIVERED])
    await destination.deliver([b"x", b"y"])
    assert destination.failures == 0


async def test_what_the_destination_asks_for_is_waited(destination, sink):
    sink.script(lambda _: [RETRY, Outcome(Verdict.RETRY, "Throttled", retry_after=0.1)])
    await destination.deliver([b"x", b"y"])
    assert await timed(destination.deliver([b"x"])) >= 0.1


async def test_a_shorter_pause_does_not_take_back_a_longer_one(destination, sink):
    sink.gate.clear()
    sink.answer(Outcome(Verdict.RETRY, "Throttled", retry_after=0.15))
    sink.answer(RETRY)
    calls = [asyncio.create_task(destination.deliver([b"x"])) for _ in range(2)]
    await sink.wait_until(lambda: len(sink.calls) == 2)
    sink.gate.set()
    await asyncio.gather(*calls)
    assert await timed(destination.deliver([b"x"])) >= 0.1


async def test_who_gives_up_after_a_few_attempts_does_not_wait_the_longer_the_more_others_have_failed(
    destination, sink, monkeypatch
):
    monkeypatch.setattr(module.random, "uniform", lambda _, high: high)
    sink.answer(RETRY, times=12)

    async def fail() -> None:
        for _ in range(12):
            await destination.deliver([b"x"], attempts=3)

    assert await timed(fail()) < 2  # 0.1 seconds, and 8 if the pauses went on growing
    assert destination.failures == 12


async def test_a_success_takes_back_the_pause(destination, sink):
    sink.gate.clear()
    sink.answer(Outcome(Verdict.RETRY, "Throttled", retry_after=3600))
    calls = [asyncio.create_task(destination.deliver([b"x"])) for _ in range(2)]
    await sink.wait_until(lambda: len(sink.calls) == 2)
    sink.gate.set()
    await asyncio.gather(*calls)
    sink.answer(RETRY)
    await destination.deliver([b"x"])
    assert await timed(destination.deliver([b"x"])) < 1


async def test_who_waits_to_try_goes_on_when_a_call_from_before_gets_through(destination, sink, monkeypatch):
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    sink.gate.clear()
    late = asyncio.create_task(destination.deliver([b"late"]))
    await sink.wait_until(lambda: len(sink.calls) == 1)
    destination._learn([Outcome(Verdict.RETRY, "Throttled", retry_after=3600)], 1, inf)
    waiting = [asyncio.create_task(destination.deliver([b"x"])) for _ in range(3)]
    await asyncio.sleep(0.03)
    assert len(sink.calls) == 1
    sink.gate.set()
    async with asyncio.timeout(60):
        await asyncio.gather(late, *waiting)


async def test_a_few_events_try_it_and_the_rest_follows_when_they_get_through(destination, sink, monkeypatch):
    monkeypatch.setattr(module, "TRIAL_EVENTS", 2)
    ambiguous = Outcome(Verdict.RETRY, "Reset", "no answer", ambiguous=True)
    sink.answer(RETRY)
    sink.answer(ambiguous)
    events = [b"a", b"b", b"c", b"d", b"e"]
    await destination.deliver(events)
    outcomes = await destination.deliver(events)
    assert [(each.code, each.ambiguous) for each in outcomes] == [("Reset", True)] * 2 + [
        ("Reset", False)
    ] * 3
    assert await destination.deliver(events) == [DELIVERED] * 5
    assert sink.calls == [events, events[:2], events[:2], events[2:]]


async def test_after_a_failed_trial_the_next_in_line_tries(destination, sink):
    sink.answer(RETRY)
    await destination.deliver([b"x"])
    sink.gate.clear()
    sink.answer(RETRY)
    calls = [asyncio.create_task(destination.deliver([b"x"])) for _ in range(3)]
    await sink.wait_until(lambda: len(sink.calls) == 2)
    await asyncio.sleep(0.02)
    assert len(sink.calls) == 2
    sink.gate.set()
    assert sorted(outcomes[0].verdict for outcomes in await asyncio.gather(*calls)) == [
        Verdict.DELIVERED,
        Verdict.DELIVERED,
        Verdict.RETRY,
    ]


async def test_a_stop_ends_the_wait_of_everyone_in_line(destination, sink):
    sink.answer(Outcome(Verdict.RETRY, "Throttled", retry_after=3600))
    await destination.deliver([b"x"])
    calls = [asyncio.create_task(destination.deliver([b"x"])) for _ in range(3)]
    await asyncio.sleep(0.01)
    destination.gate.stop()
    async with asyncio.timeout(60):
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [Stopped] * 3
    assert len(sink.calls) == 1


async def test_no_call_begins_after_a_stop(destination, sink):
    destination.gate.stop()
    with pytest.raises(Stopped):
        await destination.deliver([b"x"])
    assert sink.calls == []


async def test_one_pipeline_that_stops_in_line_does_not_hold_up_another(destination, sink):
    sink.answer(RETRY)
    await destination.deliver([b"x"])
    sink.gate.clear()
    other = PauseGate()
    trying = asyncio.create_task(destination.deliver([b"x"]))
    await sink.wait_until(lambda: len(sink.calls) == 2)
    waiting = [asyncio.create_task(destination.deliver([b"x"], gate)) for gate in (other, destination.gate)]
    await asyncio.sleep(0.01)
    other.stop()
    with pytest.raises(Stopped):
        await waiting[0]
    sink.gate.set()
    async with asyncio.timeout(60):
        assert await asyncio.gather(trying, waiting[1]) == [[DELIVERED]] * 2


async def test_who_has_no_patience_is_told_when_it_fails_and_is_not_to_be_tried(destination, sink):
    assert await destination.deliver([b"x"], patience=0) == [DELIVERED]
    sink.answer(Outcome(Verdict.RETRY, "Throttled", retry_after=3600))
    await destination.deliver([b"x"])
    with pytest.raises(TimeoutError):
        await destination.deliver([b"x"], patience=0)
    assert len(sink.calls) == 2
    assert destination.problem.code == "Throttled"
    assert destination.failing_for() > 0


async def test_patience_counts_from_the_first_failure(destination, sink):
    sink.answer(Outcome(Verdict.RETRY, "Throttled", retry_after=3600))
    await destination.deliver([b"x"])
    with pytest.raises(TimeoutError):
        assert await timed(destination.deliver([b"x"], patience=0.1)) < 0.2
    with pytest.raises(TimeoutError):
        assert await timed(destination.deliver([b"x"], patience=0.1)) < 0.05


async def test_a_sink_is_opened_once_whoever_comes_first(destination, sink):
    opened = []

    async def open_() -> None:
        opened.append(1)
        await asyncio.sleep(0.01)

    sink.open = open_
    await asyncio.gather(*(destination.deliver([b"x"]) for _ in range(3)))
    assert len(opened) == 1


async def test_an_error_of_ours_blocks_with_its_code_and_hint(destination, sink):
    async def open_() -> None:
        raise MissingExtra(what="the sink", package="boto3", extra="aws")

    sink.open = open_
    outcomes = await destination.deliver([b"x", b"y"])
    assert [outcome.verdict for outcome in outcomes] == [Verdict.BLOCKED] * 2
    assert (outcomes[0].code, outcomes[0].hint) == (
        "MISSING_EXTRA",
        "Install it with: pip install 'auditflow-server[aws]'",
    )


async def test_a_sink_that_raises_is_to_be_tried_again_and_the_log_has_the_cause(destination, sink, caplog):
    def broken(_: object) -> list[Outcome]:
        raise RuntimeError("bug")

    sink.script(broken)
    (outcome,) = await destination.deliver([b"x"])
    assert (outcome.verdict, outcome.code, outcome.reason) == (
        Verdict.RETRY,
        "SINK_FAILED",
        "RuntimeError: bug",
    )
    assert "recording raised instead of answering" in caplog.text


async def test_the_wrong_number_of_outcomes_may_mean_that_everything_was_delivered(destination, sink):
    sink.script(lambda _: [DELIVERED])
    outcomes = await destination.deliver([b"x", b"y"])
    assert [(outcome.verdict, outcome.ambiguous) for outcome in outcomes] == [(Verdict.RETRY, True)] * 2
    assert outcomes[0].reason == "the sink gave 1 outcomes for 2 events"


async def test_closing_closes_the_sink_and_a_fault_of_it_is_only_logged(destination, sink, caplog):
    async def close() -> None:
        raise RuntimeError("stuck")

    sink.close = close
    await destination.close()
    assert "closing recording failed" in caplog.text
    assert "stuck" in caplog.text


def test_the_pause_doubles_to_a_cap_and_adds_to_what_was_asked_for(monkeypatch):
    monkeypatch.setattr(module.random, "uniform", lambda low, high: high)
    assert [pause(n) for n in (1, 2, 3)] == [0.2, 0.4, 0.8]
    assert pause(10_000) == 60
    assert pause(1, 30) == 30.2
