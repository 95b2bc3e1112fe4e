"""Gives each tenant's pipelines the tenant's events, and leaves them alone while there are none.

A block is gone through once, however many tenants have events in it. A pipeline without news costs nothing, but
that it is told now and then how far the journal has come, so that its progress does not hold up eviction.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice
from math import inf
from typing import Final

from auditflow.journal import Block
from auditflow.pipelines.gate import Gate
from auditflow.pipelines.share import Share, share, shares
from auditflow.pipelines.tail import Tail

FOLLOW_SECONDS: Final = 10.0
"""How often pipelines without news go on to where the journal is; after a crash so much is looked through again."""
MISSING_SECONDS: Final = 1.0
"""How long to wait for blocks that have been there and cannot be found."""
TOGETHER: Final = 20_000
"""Events given at once, unless one block holds more."""


class Router:
    """Hands out the feeds of the tenants, and fills them from the tail."""

    def __init__(self, tail: Tail) -> None:
        self._tail = tail
        self._feeds: dict[str, Feed] = {}
        tail.followers.append(self)

    def feed(self, tenant: str) -> Feed:
        """Give the source of a tenant's events."""
        return self._feeds.setdefault(tenant, Feed(self._tail, tenant))

    def keep(self, tenants: Collection[str]) -> None:
        """Forget the feeds of other tenants."""
        self._feeds = {tenant: feed for tenant, feed in self._feeds.items() if tenant in tenants}

    async def run(self) -> None:
        """Let those without news go on, now and then, until cancelled."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            for feed in self._feeds.values():
                feed.go_on()

    def arrived(self, blocks: list[Block], oldest: int) -> None:
        """Take blocks in; those before `oldest` are no longer kept."""
        touched: dict[str, Feed] = {}
        for block in blocks:
            for tenant, one in shares(block, self._feeds.keys()):
                touched[tenant] = self._feeds[tenant]
                touched[tenant].add(one)
        for feed in self._feeds.values():
            feed.forget(oldest)
        for feed in touched.values():
            feed.wake()


class Feed:
    """The events of one tenant, for all its pipelines (a Source)."""

    def __init__(self, tail: Tail, tenant: str) -> None:
        self._tail = tail
        self._tenant = tenant
        self._shares: deque[Share] = deque()
        self._complete_from = tail.end
        """From this sequence number on, every share is among those kept."""
        self._waiting: list[_Waiter] = []

    async def next(self, start: int, gate: Gate, enough: int = 1) -> list[Share]:
        """Wait for shares and give some; one without events tells how far there are none."""
        while True:
            if start < self._complete_from:
                blocks = await self._tail.read(start, self._tenant)
                if blocks:
                    return [share(block, self._tenant) for block in blocks]
                await gate.wait(MISSING_SECONDS)
                continue
            found = self.here(start)
            missing = enough - sum(map(len, found))
            if found and missing <= 0:
                return found
            waiter = _Waiter(missing, asyncio.get_running_loop().create_future())
            self._waiting.append(waiter)
            try:
                await gate.wait(inf, waiter.future)
            finally:
                if not waiter.future.done():
                    self._waiting.remove(waiter)
            if not self.here(start) and self._tail.end > start >= self._complete_from:
                return [Share(Block(start, self._tail.end - start, 0, {}, ()), ())]

    def here(self, start: int) -> list[Share]:
        """Give the shares at hand from `start` on, some of them where they are many."""
        if start < self._complete_from or not self._shares or self._shares[-1].block.end <= start:
            return []
        skipped = bisect_right(self._shares, start, key=lambda one: one.block.end)
        found, events = [], 0
        for one in islice(self._shares, skipped, None):
            found.append(one)
            events += len(one)
            if events >= TOGETHER:
                break
        return found

    def ended(self) -> bool:
        """Tell that there will always be more."""
        return False

    def add(self, one: Share) -> None:
        """Keep a share that has arrived."""
        self._shares.append(one)
        for waiter in self._waiting:
            waiter.missing -= len(one)

    def forget(self, oldest: int) -> None:
        """Drop the shares of blocks before `oldest`."""
        while self._shares and self._shares[0].block.first < oldest:
            self._complete_from = self._shares.popleft().block.end

    def wake(self) -> None:
        """Wake those that now have enough."""
        self._let_go([waiter for waiter in self._waiting if waiter.missing <= 0])

    def go_on(self) -> None:
        """Wake all, so that those without news learn how far the journal has come."""
        self._let_go(list(self._waiting))

    def _let_go(self, some: list[_Waiter]) -> None:
        for waiter in some:
            self._waiting.remove(waiter)
            waiter.future.set_result(None)


@dataclass(eq=False, slots=True)
class _Waiter:
    missing: int
    """Events until there are enough."""
    future: asyncio.Future[None]
