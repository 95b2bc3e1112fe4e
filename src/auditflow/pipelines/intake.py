"""The first half of a pipeline: read blocks, decide over their events, fill parcels for the sink."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from auditflow.foreign import in_own_thread
from auditflow.journal import Block
from auditflow.pipelines.decide import Decide
from auditflow.pipelines.fanout import Fanout
from auditflow.pipelines.gate import Gate
from auditflow.pipelines.parcel import Packer, Parcel
from auditflow.pipelines.record import Record
from auditflow.pipelines.tail import POLL_SECONDS, Source
from auditflow.sinks._base import BatchLimits

MAX_AHEAD: Final = 250_000
"""How many events past the first unfinished one are read: bounds what progress has to remember."""


class Intake:
    """Reads on from the pipeline's progress. What ends here, filtered or failed, is settled at once."""

    def __init__(self, source: Source, gate: Gate, decide: Decide, record: Record, fanout: Fanout) -> None:
        self.advanced = asyncio.Event()
        """To be set whenever events have become terminal."""
        self._source = source
        self._gate = gate
        self._decide = decide
        self._record = record
        self._fanout = fanout
        self._cursor = record.progress.low

    async def parcels(self, limits: BatchLimits) -> AsyncIterator[Parcel]:
        """Give full parcels at once and a partial one when it has lingered; ends with the source.

        Raises Stopped.
        """
        packer = Packer(limits)
        clock = asyncio.get_running_loop().time
        leaves_at: float | None = None
        while not self._source.ended():
            for block in await self._blocks(leaves_at):
                for full in await self._take_in(block, packer):
                    leaves_at = None
                    yield full
            if not len(packer.parcel):
                continue
            leaves_at = leaves_at or clock() + limits.linger
            if clock() >= leaves_at or self._far_ahead():
                leaves_at = None
                yield packer.take()

    async def _blocks(self, until: float | None) -> list[Block]:
        """Wait for blocks, at most until the given time of the loop; none then. Raises Stopped."""
        while self._far_ahead() and not self._gate.stopped:
            self.advanced.clear()
            await self.advanced.wait()
        blocks: list[Block] = []
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                blocks = await self._source.next(self._cursor, self._gate)
        while not self._record.writable() or self._record.held():
            await self._gate.wait(POLL_SECONDS)
        return blocks

    def _far_ahead(self) -> bool:
        return self._cursor - self._record.progress.low > MAX_AHEAD

    async def _take_in(self, block: Block, packer: Packer) -> list[Parcel]:
        """Decide over the events of a block that are still open; give the parcels they fill."""
        self._record.lost(range(self._cursor, block.first), "the journal no longer holds these events")
        start, self._cursor = max(self._cursor, block.first), block.end
        if block.damage:
            self._record.lost(
                range(start, block.end), f"the journal cannot read these events: {block.damage}"
            )
            return []
        sequences = self._record.open_of(range(start, block.end))
        if len(sequences) == block.count:
            events, times = block.events, block.times
        else:
            events = [block.events[sequence - block.first] for sequence in sequences]
            times = [block.times[sequence - block.first] for sequence in sequences]
        if self._decide.transforms:  # other people's code: not on the event loop
            decided = await in_own_thread(self._decide, sequences, events)
        else:
            decided = self._decide(sequences, events, times)
        self._record.decided(decided)
        self._fanout.expect(decided.sequences)
        return packer.add(decided, block.appended_at)
