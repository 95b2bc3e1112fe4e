"""Reads the journal once for all pipelines at its tail; one that lags reads for itself until it is there."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from math import inf
from operator import attrgetter
from typing import Final, Protocol

from auditflow.journal import Block, Journal
from auditflow.pipelines.deliver.pause_gate import PauseGate
from auditflow.pipelines.read.block_cache import BlockCache, weight
from auditflow.pipelines.read.slice import BlockSlice, tenant_slice

WINDOW_BYTES: Final = 16 * 2**20
"""Decoded events kept for pipelines that are close to the head."""
READ_BYTES: Final = 4 * 2**20
"""Decoded events given at once, unless one block is larger."""
POLL_SECONDS: Final = 0.02
"""How often the journal, which another process writes, is asked for news: a hundred commits in this time cost
little more than one."""
GONE: Final = "the journal no longer holds these events"


class Source(Protocol):
    """Where a pipeline reads its events."""

    async def next(self, start: int, gate: PauseGate, until: float = inf) -> list[BlockSlice]:
        """Wait for what follows `start`, or holds it, and give some of it, in order.

        At the loop's time `until` it gives what there is, which may be nothing. Raises Stopped, JournalDamaged.
        """

    def ended(self) -> bool:
        """Tell whether every event has come to its end and none will follow."""


class Follower(Protocol):
    """Is told of every block that the tail has read."""

    def arrived(self, blocks: list[Block], oldest: int, older: int) -> None:
        """Take these blocks in; the window now begins at `oldest`, and what is before `older` leaves it soon."""


class TailReader:
    """A window over the newest blocks, shared by all pipelines; for those that get everybody's events, a Source."""

    def __init__(self, journal: Journal, start: int | None = None) -> None:
        """Begin at `start`, or at the head."""
        self.followers: list[Follower] = []
        self._stopped = False
        self._journal = journal
        self._window: list[Block] = []
        self._filled: list[int] = []
        """For each block of the window, the bytes read so far up to its end."""
        self._next = journal.head() if start is None else start
        self._arrived = asyncio.get_running_loop().create_future()
        # one thread: pipelines that lag must not crowd out others
        self._reader = ThreadPoolExecutor(1, "journal-reader")
        self._reading_alone = asyncio.Lock()
        self._cache = BlockCache()

    @property
    def end(self) -> int:
        """Sequence number after the newest event that has been read."""
        return self._next

    async def run(self) -> None:
        """Follow the journal until stopped. Raises JournalDamaged."""
        while not self._stopped:
            blocks = await self.read(self._next) if self._journal.head() > self._next else []
            if blocks:
                self._extend(blocks)
                self._wake()
            if sum(map(weight, blocks)) < READ_BYTES // 4:  # else there is more
                await asyncio.sleep(POLL_SECONDS)

    async def next(self, start: int, gate: PauseGate, until: float = inf) -> list[BlockSlice]:
        """Wait for blocks that hold or follow `start` and give some, in order; at `until` give what there is.

        Raises Stopped when the pipeline is stopped, JournalDamaged.
        """
        clock = asyncio.get_running_loop().time
        while True:
            arrived = self._arrived  # taken before reading, lest blocks that arrive meanwhile go unnoticed
            if start < self._next and (
                found := self._kept(start) or [tenant_slice(block, "") for block in await self.read(start)]
            ):
                return found
            if clock() >= until:
                return []
            await gate.wait(until - clock(), arrived)

    def _kept(self, start: int) -> list[BlockSlice]:
        """Give blocks of the window, no more than one read, so that nobody holds the whole window for long."""
        if not self._window or self._window[0].first > start or start >= self._next:
            return []
        first = bisect_right(self._window, start, key=attrgetter("end"))
        end = bisect_right(self._filled, self._filled[first] + READ_BYTES)
        return [tenant_slice(block, "") for block in self._window[first:end]]

    def ended(self) -> bool:
        """Tell that there will always be more."""
        return False

    def stop(self) -> None:
        """Let `run` end."""
        self._stopped = True

    async def read(self, start: int, tenant: str = "") -> list[Block]:
        """Read some blocks that hold or follow `start`, in order; none at the head. Raises JournalDamaged.

        What is missing between them is a block that says so. Blocks without events of the `tenant` come without any.
        """
        blocks = await asyncio.get_running_loop().run_in_executor(
            self._reader, self._journal.read, start, READ_BYTES, tenant
        )
        return list(_without_holes(start, blocks))

    async def read_of(self, tenant: str, start: int) -> list[BlockSlice]:
        """Read in the same way what is a tenant's; what another one has read just now is not read again."""
        async with self._reading_alone:  # others may be waiting for the very same blocks
            found = self._cache.slices(start, tenant)
            if found:
                return found
            blocks = await self.read(start, tenant)
            self._cache.add(blocks)
        return [tenant_slice(block, tenant) for block in blocks]

    def _wake(self) -> None:
        self._arrived.set_result(None)
        self._arrived = asyncio.get_running_loop().create_future()

    def _extend(self, blocks: list[Block]) -> None:
        for block in blocks:
            self._window.append(block)
            self._filled.append((self._filled[-1] if self._filled else 0) + weight(block))
        surplus = bisect_right(self._filled, self._filled[-1] - WINDOW_BYTES)
        del self._window[:surplus], self._filled[:surplus]
        self._next = blocks[-1].end
        half = bisect_right(self._filled, self._filled[-1] - WINDOW_BYTES // 2)
        for follower in self.followers:
            follower.arrived(blocks, self._window[0].first, self._window[half].first)


def _without_holes(start: int, blocks: list[Block]) -> Iterator[Block]:
    for block in blocks:
        if block.first > start:
            yield Block(start, block.first - start, 0, {}, (), GONE)
        yield block
        start = block.end
