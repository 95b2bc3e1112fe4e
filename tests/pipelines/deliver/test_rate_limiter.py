"""A rate delays events, evenly, however many deliveries are under way, and does nothing else to them."""

from __future__ import annotations

import asyncio
import time

import pytest

from auditflow.pipelines.deliver.pause_gate import PauseGate, Stopped
from auditflow.pipelines.deliver.policy import DeliveryPolicy
from auditflow.pipelines.deliver.rate_limiter import RateLimiter
from auditflow.sinks._base import BatchLimits, Outcome, Verdict

RETRY = Outcome(Verdict.RETRY, "Throttled", "too fast")


async def test_no_more_go_than_the_rate_lets_through():
    rate_limiter, gate = RateLimiter(100), PauseGate()
    started = time.monotonic()
    await asyncio.gather(*(rate_limiter.passed(5, gate) for _ in range(5)))
    assert time.monotonic() - started >= 0.19


async def test_time_without_events_is_not_saved_up():
    rate_limiter, gate = RateLimiter(100), PauseGate()
    await rate_limiter.passed(1, gate)
    await asyncio.sleep(0.1)
    started = time.monotonic()
    for _ in range(2):
        await rate_limiter.passed(10, gate)
    assert time.monotonic() - started >= 0.09


async def test_without_a_rate_nothing_waits():
    rate_limiter, gate = RateLimiter(), PauseGate()
    for _ in range(3):
        await asyncio.wait_for(rate_limiter.passed(10**9, gate), 60)
    limits = BatchLimits(events=7)
    assert rate_limiter.limits(limits) is limits


@pytest.mark.parametrize(("rate", "events"), [(0.01, 1), (25, 2), (1e6, 500)])
def test_batches_hold_no_more_than_a_tenth_of_a_second(rate: float, events: int):
    assert RateLimiter(rate).limits(BatchLimits(events=500)).events == events


async def test_a_stop_ends_the_wait():
    rate_limiter, gate = RateLimiter(0.001), PauseGate()
    await rate_limiter.passed(1, gate)
    waiting = asyncio.create_task(rate_limiter.passed(1, gate))
    await asyncio.sleep(0)
    gate.stop()
    with pytest.raises(Stopped):
        await asyncio.wait_for(waiting, 60)


@pytest.mark.usefixtures("quick_retries")
async def test_a_pipeline_keeps_to_its_rate(world, sink):
    async with world.running(sink, policy=DeliveryPolicy(rate=100)):
        started = time.monotonic()
        events = await world.publish(30)
        await world.settled()
    assert time.monotonic() - started >= 0.19
    assert sorted(sink.delivered) == sorted(events)
    assert max(len(call) for call in sink.calls) == 10


@pytest.mark.usefixtures("quick_retries")
async def test_what_the_rate_has_delayed_past_its_age_is_not_given_up_at_its_first_failure(world, sink):
    sink.answer(RETRY, times=2)
    policy = DeliveryPolicy.model_validate({"rate": 1000, "max-age": "10s"})
    async with world.running(sink, policy=policy):
        world.journal._clock = lambda: 5.0  # accepted long ago
        await world.publish(1)
        account = await world.settled()
    assert (account.delivered, account.dead_lettered) == (1, 0)
