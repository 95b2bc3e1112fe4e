"""A tenant's pipeline delivers and accounts for the tenant's events alone, at every moment."""

from __future__ import annotations

import gc
import json

import pytest

from auditflow.pipelines.decide import intake as intake_module
from auditflow.pipelines.deliver.batch import Batch
from auditflow.pipelines.read import tenant_feeds as router_module
from auditflow.pipelines.read.slice import BlockSlice
from auditflow.sinks._base import Outcome, Verdict
from auditflow.testing.recording_sink import RecordingSink


@pytest.fixture
def world(world):
    world.tenant = "a"
    return world


async def test_other_tenants_events_are_neither_delivered_nor_counted(world, sink):
    await world.publish(1)
    async with world.running(sink):
        own = (await world.publish(60, "a", "b", "c"))[::3]
        await world.publish(10, "b")
        own += await world.publish(5, "a")
        account = await world.settled()
    assert sink.delivered == own
    assert (account.delivered, account.filtered, world.pending()) == (25, 0, 0)


async def test_after_a_restart_it_goes_on_where_it_was_and_counts_nothing_twice(world):
    dead, fixed = RecordingSink(), RecordingSink()
    dead.answer(Outcome(Verdict.RETRY, "down", retry_after=3600), times=100)
    async with world.running(dead):
        own = (await world.publish(40, "a", "b"))[::2]
        await world.until(lambda: dead.calls)
        assert world.pending() == 20
    own += (await world.publish(40, "b", "a"))[1::2]
    assert world.pending() == 40
    async with world.running(fixed):
        account = await world.settled()
    assert fixed.delivered == own
    assert (account.delivered, account.accepted(world.journal.head())) == (40, 40)


async def test_a_pipeline_without_news_does_not_keep_blocks_from_being_evicted(world, sink, monkeypatch):
    monkeypatch.setattr(router_module, "FOLLOW_SECONDS", 0.02)
    async with world.running(sink):
        await world.publish(50, "b")
        await world.until(lambda: world.ledger.finished() == world.journal.head())
    assert (world.account().delivered, world.pending()) == (0, 0)


async def test_what_is_lost_is_dead_lettered_for_the_tenant_whoever_it_was_of(world, sink):
    async with world.running(sink):
        await world.publish(4, "a", "b")
        await world.settled()
    await world.publish(3, "b")
    await world.publish(4, "a", "b")
    del world.journal._blocks[1]
    async with world.running(sink):
        await world.until(lambda: world.account().dead_lettered > 0)
        account = await world.settled()
    (letter,) = world.ledger.dead_letters()
    assert (letter.count, letter.tenant) == (3, "a")
    assert (account.delivered, account.dead_lettered) == (4, 3)


async def test_how_far_ahead_it_reads_is_bounded_however_rare_its_events_are(world, sink, monkeypatch):
    monkeypatch.setattr(intake_module, "MAX_AHEAD", 50)
    sink.answer(Outcome(Verdict.RETRY, "down", retry_after=0.05), times=3)
    async with world.running(sink):
        for _ in range(10):
            await world.publish(40, "a", *["b"] * 39)
        account = await world.settled()
    assert [json.loads(event)["n"] for event in sink.delivered] == [40 * n for n in range(10)]
    assert account.progress.low == world.journal.head()


async def test_a_stretch_is_delivered_again_to_the_tenant_alone(world, sink):
    async with world.running(sink):
        own = (await world.publish(30, "a", "b", "b"))[::3]
        await world.settled()
        world.ledger.deliver_again("p", 1, 31, "x", others=20)
        world.again.wake()
        await world.until(lambda: len(sink.delivered) == 20)
        await world.until(lambda: not world.account().replay_ranges)
    assert sink.delivered == own * 2
    assert world.account().accepted(31) == 20


async def test_while_it_waits_for_more_it_holds_nothing_of_what_it_has_delivered(world, sink):
    def held() -> int:
        return sum(len(one.events) for one in gc.get_objects() if isinstance(one, (Batch, BlockSlice)))

    before = held()
    async with world.running(sink):
        await world.publish(100, "a", "b")
        await world.settled()
        await world.until(lambda: held() == before)
        assert len(sink.delivered) == 50
