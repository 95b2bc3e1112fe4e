"""The first half of a pipeline: read blocks, decide over their events, fill parcels for the sink."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from auditflow.foreign import in_own_thread
from auditflow.pipelines.decide import Decide
from auditflow.pipelines.fanout import Fanout
from auditflow.pipelines.gate import Gate
from auditflow.pipelines.parcel import Packer, Parcel
from auditflow.pipelines.record import Record
from auditflow.pipelines.share import Share
from auditflow.pipelines.tail import GONE, POLL_SECONDS, Source
from auditflow.sinks._base import BatchLimits

MAX_AHEAD: Final = 250_000
"""How many events past the first unfinished one are read: bounds what progress has to remember."""

ENOUGH: Final = 1_000
"""While a parcel waits for more events, so many are worth waking for."""


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
            enough = min(ENOUGH, limits.events - len(packer.parcel)) if leaves_at else 1
            for share in await self._shares(leaves_at, enough):
                if len(packer.parcel) and self._far_ahead(share.block.first):
                    leaves_at = None
                    yield packer.take()
                await self._near_enough(share.block.first)
                for full in await self._take_in(share, packer):
                    leaves_at = None
                    yield full
            if not len(packer.parcel):
                continue
            leaves_at = leaves_at or clock() + limits.linger
            if clock() >= leaves_at or self._far_ahead(self._cursor):
                leaves_at = None
                yield packer.take()

    async def _shares(self, until: float | None, enough: int) -> list[Share]:
        """Wait for shares, at most until the given time of the loop; then give what there is. Raises Stopped."""
        await self._near_enough(self._cursor)
        try:
            async with asyncio.timeout_at(until):
                shares = await self._source.next(self._cursor, self._gate, enough)
        except TimeoutError:
            shares = self._source.here(self._cursor)
        while not self._record.writable() or self._record.held():
            await self._gate.wait(POLL_SECONDS)
        return shares

    async def _near_enough(self, end: int) -> None:
        """Wait until the first open event is close to `end`."""
        while self._far_ahead(end) and not self._gate.stopped:
            self.advanced.clear()
            await self.advanced.wait()

    def _far_ahead(self, end: int) -> bool:
        return self._record.open() and end - self._record.progress.low > MAX_AHEAD

    async def _take_in(self, share: Share, packer: Packer) -> list[Parcel]:
        """Decide over the events of a share that are still open; give the parcels they fill."""
        block = share.block
        own, self._cursor = share.sequences(self._cursor), max(self._cursor, block.end)
        sequences = self._record.come_by(block.end, own)
        if block.damage:
            self._record.lost(sequences, _why(block.damage))
            return []
        if not sequences:
            return []
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


def _why(damage: str) -> str:
    return damage if damage == GONE else f"the journal cannot read these events: {damage}"
