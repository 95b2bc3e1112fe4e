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
from auditflow.pipelines.gate import Gate
from auditflow.pipelines.share import Share

WINDOW_BYTES: Final = 16 * 2**20
"""Decoded events kept for pipelines that are close to the head."""
READ_BYTES: Final = 4 * 2**20
"""Decoded events given at once, unless one block is larger."""
POLL_SECONDS: Final = 0.02
"""How often the journal, which another process writes, is asked for news."""
GONE: Final = "the journal no longer holds these events"


class Source(Protocol):
    """Where a pipeline reads its events."""

    async def next(self, start: int, gate: Gate, enough: int = 1) -> list[Share]:
        """Wait for shares of blocks that hold or follow `start` and give some, in order.

        What lies between them, or between `start` and the first, is not the pipeline's. It need not be woken for
        fewer than `enough` events. Raises Stopped, JournalDamaged.
        """

    def here(self, start: int) -> list[Share]:
        """Give those of them that are at hand."""

    def ended(self) -> bool:
        """Tell whether every event has come to its end and none will follow."""


class Follower(Protocol):
    """Is told of every block that the tail has read."""

    def arrived(self, blocks: list[Block], oldest: int) -> None:
        """Take these blocks in; the window now begins at `oldest`."""


class Tail:
    """A window over the newest blocks, shared by all pipelines; for those that get everybody's events, a Source."""

    def __init__(self, journal: Journal) -> None:
        self.followers: list[Follower] = []
        self._stopped = False
        self._journal = journal
        self._window: list[Block] = []
        self._filled: list[int] = []
        """For each block of the window, the bytes read so far up to its end."""
        self._next = journal.head()
        self._arrived = asyncio.get_running_loop().create_future()
        # one thread: pipelines that lag must not crowd out others
        self._reader = ThreadPoolExecutor(1, "journal-reader")

    @property
    def end(self) -> int:
        """Sequence number after the newest event that has been read."""
        return self._next

    async def run(self) -> None:
        """Follow the journal until stopped. Raises JournalDamaged."""
        while not self._stopped:
            if self._journal.head() > self._next and (blocks := await self.read(self._next)):
                self._extend(blocks)
                self._wake()
            else:
                await asyncio.sleep(POLL_SECONDS)

    async def next(self, start: int, gate: Gate, enough: int = 1) -> list[Share]:  # noqa: ARG002 - whoever gets all has enough
        """Wait for blocks that hold or follow `start` and give some, in order.

        Raises Stopped when the pipeline is stopped, JournalDamaged.
        """
        while True:
            arrived = self._arrived  # taken before reading, lest blocks that arrive meanwhile go unnoticed
            if start < self._next and (
                found := self.here(start) or [Share(block) for block in await self.read(start)]
            ):
                return found
            await gate.wait(inf, arrived)

    def here(self, start: int) -> list[Share]:
        """Give blocks of the window, no more than one read, so that nobody holds the whole window for long."""
        if not self._window or self._window[0].first > start or start >= self._next:
            return []
        first = bisect_right(self._window, start, key=attrgetter("end"))
        end = bisect_right(self._filled, self._filled[first] + READ_BYTES)
        return [Share(block) for block in self._window[first:end]]

    def ended(self) -> bool:
        """Tell that there will always be more."""
        return False

    def stop(self) -> None:
        """Let `run` end."""
        self._stopped = True

    async def read(self, start: int, tenant: str = "") -> list[Block]:
        """Read some blocks that hold or follow `start`, in order; none at the head. Raises JournalDamaged.

        What is missing between them is a block that says so.
        """
        blocks = await asyncio.get_running_loop().run_in_executor(
            self._reader, self._journal.read, start, READ_BYTES, tenant
        )
        return list(_without_holes(start, blocks))

    def _wake(self) -> None:
        self._arrived.set_result(None)
        self._arrived = asyncio.get_running_loop().create_future()

    def _extend(self, blocks: list[Block]) -> None:
        for block in blocks:
            self._window.append(block)
            self._filled.append((self._filled[-1] if self._filled else 0) + _weight(block))
        surplus = bisect_right(self._filled, self._filled[-1] - WINDOW_BYTES)
        del self._window[:surplus], self._filled[:surplus]
        self._next = blocks[-1].end
        for follower in self.followers:
            follower.arrived(blocks, self._window[0].first)


def _without_holes(start: int, blocks: list[Block]) -> Iterator[Block]:
    for block in blocks:
        if block.first > start:
            yield Block(start, block.first - start, 0, {}, (), GONE)
        yield block
        start = block.end


def _weight(block: Block) -> int:
    """Estimate the memory a block takes: an object costs about 100 bytes besides its text."""
    return sum(map(len, block.events)) + 100 * len(block.events)
