"""Gives each tenant's pipelines the tenant's events, and leaves them alone while there are none.

A block is gone through once, however many tenants have events in it. To wake a pipeline costs as much as tens of events
do: where there are many tenants, what arrives is gathered for some moments, so that few are woken for one event. A
pipeline without news costs nothing, but that it is told now and then how far the journal has come, so that its progress
does not hold up eviction.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Collection
from math import inf
from typing import Final

from auditflow.journal import Block
from auditflow.pipelines.deliver.pause_gate import PauseGate
from auditflow.pipelines.read.slice import BlockSlice, slice_block
from auditflow.pipelines.read.tail import TailReader

FOLLOW_SECONDS: Final = 10.0
"""How often pipelines without news go on to where the journal is; after a crash so much is looked through again."""
GATHER_SECONDS: Final = 0.0005
"""For each tenant there is, how long events are gathered: what waking takes stays a fraction of that."""
GATHER_MOST_SECONDS: Final = 1.0
PLENTY: Final = 1_000
"""So many events of a tenant are handed on at once."""
MISSING_SECONDS: Final = 1.0
"""How long to wait for blocks that have been there and cannot be found."""
TOGETHER: Final = 20_000
"""Most events given at once."""


class TenantFeeds:
    """Hands out the feeds of the tenants, and fills them from the tail."""

    def __init__(self, tail: TailReader) -> None:
        self._tail = tail
        self._feeds: dict[str, TenantFeed] = {}
        self._gathering = False
        self._taken = tail.end
        """All before was given to those who waited for it."""
        self._gathered: set[TenantFeed] = set()
        tail.followers.append(self)

    def feed(self, tenant: str) -> TenantFeed:
        """Give the source of a tenant's events."""
        if tenant not in self._feeds:
            self._feeds[tenant] = TenantFeed(self._tail, tenant)
        return self._feeds[tenant]

    def keep(self, tenants: Collection[str]) -> None:
        """Forget the feeds of other tenants."""
        self._feeds = {tenant: feed for tenant, feed in self._feeds.items() if tenant in tenants}

    async def run(self) -> None:
        """Let those without news go on, now and then, until cancelled."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            for feed in self._feeds.values():
                feed.wake(everybody=True)

    def arrived(self, blocks: list[Block], oldest: int, older: int) -> None:
        """Take blocks in; those before `oldest` are no longer kept, and those before `older` not for long."""
        for block in blocks:
            self._take_in(block)
        for feed in self._feeds.values():
            feed.forget(oldest)
        if self._taken < older:
            self._taken = self._tail.end
            for feed in self._feeds.values():
                if feed.fresh:
                    feed.wake(everybody=True)
        elif not self._gathering:
            self._hand_on()
        else:
            for feed in self._gathered:
                if feed.fresh >= PLENTY:
                    feed.wake(everybody=True)

    def _take_in(self, block: Block) -> None:
        if block.damage:  # it may have been anybody's
            for feed in self._feeds.values():
                feed.lose(block)
            self._gathered.update(self._feeds.values())
            return
        feeds = [self._feeds.get(tenant) for tenant in block.tenants]
        self._gathered.update(feed for feed in feeds if feed)
        if len(feeds) == 1:
            if feeds[0]:
                feeds[0].add_all(block)
            return
        first, at, times = block.first, block.appended_at, block.times
        for place, (event, owner) in enumerate(zip(block.events, block.owners, strict=True)):
            if its := feeds[owner]:
                its.add(first + place, event, times[place], at)

    def _hand_on(self) -> None:
        """Wake whoever has news, and gather what arrives from now on."""
        gathered, self._gathered = self._gathered, set()
        self._gathering = bool(gathered)
        for feed in gathered:
            feed.wake()
        if gathered:
            seconds = min(GATHER_MOST_SECONDS, GATHER_SECONDS * len(self._feeds))
            asyncio.get_running_loop().call_later(seconds, self._hand_on)


class TenantFeed:
    """The events of one tenant, for all its pipelines (a Source)."""

    def __init__(self, tail: TailReader, tenant: str) -> None:
        self._tail = tail
        self._tenant = tenant
        self._complete_from = tail.end
        """From this sequence number on, all that is the tenant's is here, as parallel lists."""
        self._sequences: list[int] = []
        self._events: list[bytes] = []
        self._times: list[int] = []
        self._accepted_at: list[int] = []
        self._lost: list[Block] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._lingering: list[asyncio.Future[None]] = []
        self.fresh = 0
        """Events that have arrived since everybody was woken."""

    async def next(self, start: int, gate: PauseGate, until: float = inf) -> list[BlockSlice]:
        """Wait for events and give some; now and then none, which tells how far there are none.

        Who waits until some time has a batch to fill, and is left alone till then, unless much arrives.
        """
        loop = asyncio.get_running_loop()
        while True:
            if start < self._complete_from:
                if found := await self._tail.read_of(self._tenant, start):
                    return found
                await gate.wait(MISSING_SECONDS)
                continue
            if found := self.here(start):
                return found
            if loop.time() >= until:
                return []
            await self._news(gate, until)
            if start >= self._complete_from:
                return self.here(start) or [BlockSlice(max(start, self._tail.end))]

    async def _news(self, gate: PauseGate, until: float) -> None:
        """Wait to be woken."""
        loop = asyncio.get_running_loop()
        news = loop.create_future()
        lingers = until < inf
        timer = loop.call_at(until, _wake, news) if lingers else None
        waiting = self._lingering if lingers else self._waiting
        waiting.append(news)
        try:
            await gate.heard(news)
        finally:
            if timer:
                timer.cancel()
            if news in waiting:
                waiting.remove(news)

    def here(self, start: int) -> list[BlockSlice]:
        """Give what is at hand from `start` on, a part of it when it is much."""
        if start < self._complete_from:
            return []
        lost = next((block for block in self._lost if block.end > start), None)
        if lost is not None and lost.first <= start:
            return [slice_block(lost).from_on(start)]
        end = lost.first if lost is not None else self._tail.end
        first, last = bisect_left(self._sequences, start), bisect_left(self._sequences, end)
        if first == last:
            return [] if lost is None else [slice_block(lost)]
        if last - first > TOGETHER:
            last = first + TOGETHER
            end = self._sequences[last - 1] + 1
        part = slice(first, last)
        return [
            BlockSlice(
                end, self._sequences[part], self._events[part], self._times[part], self._accepted_at[first]
            )
        ]

    def ended(self) -> bool:
        """Tell that there will always be more."""
        return False

    def add(self, sequence: int, event: bytes, time: int, accepted_at: int) -> None:
        """Keep an event that has arrived."""
        self._sequences.append(sequence)
        self._events.append(event)
        self._times.append(time)
        self._accepted_at.append(accepted_at)
        self.fresh += 1

    def add_all(self, block: Block) -> None:
        """Keep all events of a block that has arrived."""
        self._sequences += range(block.first, block.end)
        self._events += block.events
        self._times += block.times
        self._accepted_at += [block.appended_at] * block.count
        self.fresh += block.count

    def lose(self, block: Block) -> None:
        """Keep that a block cannot be read."""
        self._lost.append(block)
        self.fresh += PLENTY

    def forget(self, oldest: int) -> None:
        """Drop what is before `oldest`."""
        while self._lost and self._lost[0].first < oldest:
            self._complete_from = max(self._complete_from, self._lost.pop(0).end)
        if self._sequences and self._sequences[0] < oldest:
            gone = bisect_left(self._sequences, oldest)
            self._complete_from = max(self._complete_from, self._sequences[gone - 1] + 1)
            del self._sequences[:gone], self._events[:gone], self._times[:gone], self._accepted_at[:gone]

    def wake(self, *, everybody: bool = False) -> None:
        """Wake those that wait, on demand also those with a batch to fill."""
        waiting, self._waiting = self._waiting, []
        if everybody:
            waiting += self._lingering
            self._lingering = []
            self.fresh = 0
        for news in waiting:
            _wake(news)


def _wake(news: asyncio.Future[None]) -> None:
    if not news.done():
        news.set_result(None)
