"""Each tenant's pipelines get the tenant's events, in order, and are left alone while there are none."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from auditflow.journal import AppendBatch, Block
from auditflow.journal.memory import MemoryJournal
from auditflow.pipelines.deliver.pause_gate import PauseGate
from auditflow.pipelines.read import tail as tail_module
from auditflow.pipelines.read import tenant_feeds as module
from auditflow.pipelines.read.slice import BlockSlice
from auditflow.pipelines.read.tail import GONE, TailReader
from auditflow.pipelines.read.tenant_feeds import TenantFeed, TenantFeeds


class World:
    """A journal of several tenants that is followed."""

    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self.tail = TailReader(self.journal)
        self.feeds = TenantFeeds(self.tail)

    async def publish(self, tenants: str) -> None:
        """Append a block with an event for each dead letter, which names its tenant."""
        first = self.journal.head()
        ids = [f"00000000-0000-4000-8000-{first + i:012d}" for i in range(len(tenants))]
        await self.journal.append(AppendBatch([b"x" * 10] * len(tenants), ids, [*tenants]))
        async with asyncio.timeout(60):
            while self.tail.end < self.journal.head():  # noqa: ASYNC110 - a thread changes what is awaited
                await asyncio.sleep(0.001)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    running = asyncio.create_task(world.tail.run())
    yield world
    world.tail.stop()
    await asyncio.wait_for(running, 60)


def numbers(slices: list[BlockSlice]) -> list[list[int]]:
    return [list(one.sequences) for one in slices]


async def following(feed: TenantFeed, start: int) -> list[list[int]]:
    return numbers(await asyncio.wait_for(feed.next(start, PauseGate()), 60))


async def test_a_tenant_gets_its_events_of_every_block_that_has_some(world):
    feeds = {tenant: world.feeds.feed(tenant) for tenant in "abc"}
    for block in ("ab", "b", "aab"):
        await world.publish(block)
    assert await following(feeds["a"], 1) == [[1, 4, 5]]
    assert await following(feeds["b"], 3) == [[3, 6]]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(feeds["c"].next(1, PauseGate()), 0.05)


async def test_who_waits_is_woken_by_its_own_events_alone(world):
    feed = world.feeds.feed("a")
    waiting = asyncio.create_task(feed.next(1, PauseGate()))
    await asyncio.sleep(0.01)
    await world.publish("bbb")
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await world.publish("ba")
    assert numbers(await asyncio.wait_for(waiting, 60)) == [[5]]


async def test_where_there_are_many_tenants_events_are_gathered_before_anybody_is_woken(world, monkeypatch):
    monkeypatch.setattr(module, "GATHER_SECONDS", 0.1)
    monkeypatch.setattr(module, "PLENTY", 3)
    feed = world.feeds.feed("a")
    await world.publish("ab")
    assert await following(feed, 1) == [[1]]
    waiting = asyncio.create_task(feed.next(3, PauseGate()))
    await world.publish("ab")
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await world.publish("a")
    assert numbers(await asyncio.wait_for(waiting, 60)) == [[3, 5]]
    waiting = asyncio.create_task(feed.next(6, PauseGate()))
    await asyncio.sleep(0.01)
    await world.publish("aaa")
    await asyncio.sleep(0.01)
    assert numbers(waiting.result()) == [[6, 7, 8]], "so many are not kept waiting"


async def test_what_was_there_before_is_read_by_who_needs_it(world, monkeypatch):
    await world.publish("ab")
    await world.publish("bb")
    feed = world.feeds.feed("a")
    await world.publish("ba")
    assert await following(feed, 1) == [[1], [], [6]]
    assert await following(feed, 5) == [[6]]


async def test_who_lags_behind_what_is_kept_reads_alone(world, monkeypatch):
    monkeypatch.setattr(tail_module, "WINDOW_BYTES", 2 * 110)
    feed = world.feeds.feed("a")
    for block in ("a", "b", "a", "b"):
        await world.publish(block)
    assert feed.here(1) == []
    assert await following(feed, 1) == [[1], [], [3], []]
    assert await following(feed, 3) == [[3]]


async def test_without_news_it_is_told_now_and_then_how_far_the_journal_is(world, monkeypatch):
    monkeypatch.setattr(module, "FOLLOW_SECONDS", 0.05)
    feed = world.feeds.feed("a")
    waiting = asyncio.create_task(feed.next(1, PauseGate()))
    await asyncio.sleep(0.01)
    await world.publish("bbb")
    following = asyncio.create_task(world.feeds.run())
    (nothing,) = await asyncio.wait_for(waiting, 60)
    following.cancel()
    assert nothing == BlockSlice(4)


async def test_what_is_lost_is_everybodys(world):
    feeds = [world.feeds.feed(tenant) for tenant in "ab"]
    await world.publish("ab")
    world.tail._extend([Block(3, 2, 0, {}, (), GONE)])
    await world.publish("a")
    for feed, own in zip(feeds, (1, 2), strict=True):
        (before,), (lost,) = feed.here(1), feed.here(3)
        assert (before.end, list(before.sequences)) == (3, [own])
        assert (lost.end, list(lost.sequences), lost.damage) == (5, [3, 4], GONE)


async def test_feeds_that_nobody_uses_are_forgotten(world):
    world.feeds.feed("a")
    kept = world.feeds.feed("b")
    world.feeds.keep({"b"})
    await world.publish("ab")
    assert world.feeds.feed("b") is kept
    assert world.feeds.feed("a").here(1) == []


async def test_a_stop_leaves_nobody_waiting(world):
    feed, gate = world.feeds.feed("a"), PauseGate()
    waiting = asyncio.create_task(feed.next(1, gate))
    await asyncio.sleep(0.01)
    gate.stop()
    with contextlib.suppress(Exception):
        await waiting
    assert feed._waiting == []
