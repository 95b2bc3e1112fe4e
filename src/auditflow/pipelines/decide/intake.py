"""The first half of a pipeline: read blocks, decide over their events, fill parcels for the sink."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from math import inf
from typing import Final

from auditflow.pipelines.decide.decision import Decide
from auditflow.pipelines.deliver.batch import Packer, Parcel
from auditflow.pipelines.deliver.fan_out import Fanout
from auditflow.pipelines.deliver.pause_gate import Gate
from auditflow.pipelines.read.slice import Portion
from auditflow.pipelines.read.tail import GONE, POLL_SECONDS, Source
from auditflow.pipelines.record.outcomes import Record
from auditflow.plugin_call import in_own_thread
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
        leaves_at = inf
        while not self._source.ended():
            async for full in self._filled(await self._portions(leaves_at), packer):
                leaves_at = inf
                yield full
                del full  # thousands may wait for events: none is to hold meanwhile what it has had
            if not len(packer.parcel):
                continue
            leaves_at = min(leaves_at, clock() + limits.linger)
            if clock() >= leaves_at or self._far_ahead(self._cursor):
                leaves_at = inf
                yield packer.take()

    async def _portions(self, until: float) -> list[Portion]:
        """Wait for events, at most until the given time of the loop. Raises Stopped."""
        portions = await self._source.next(self._cursor, self._gate, until)
        while not self._record.writable() or self._record.held():
            await self._gate.wait(POLL_SECONDS)
        return portions

    async def _filled(self, portions: list[Portion], packer: Packer) -> AsyncIterator[Parcel]:
        """Take portions in; give the parcels that have to leave before one, or become full by it."""
        for portion in portions:
            if len(packer.parcel) and self._too_far(portion, packer.parcel):
                yield packer.take()
            await self._near_enough(portion)
            for full in await self._take_in(portion, packer):
                yield full

    async def _near_enough(self, portion: Portion) -> None:
        """Wait until there is room to remember what has not ended."""
        while self._far_ahead(_first(portion)) and not self._gate.stopped:
            self.advanced.clear()
            await self.advanced.wait()

    def _far_ahead(self, end: int) -> bool:
        return self._record.progress.ahead(end) > MAX_AHEAD

    def _too_far(self, portion: Portion, parcel: Parcel) -> bool:
        """Tell whether a parcel has to leave before the portion is taken: a receipt's events lie close together."""
        return self._far_ahead(_first(portion)) or _first(portion) - parcel.sequences[0] > MAX_AHEAD

    async def _take_in(self, portion: Portion, packer: Packer) -> list[Parcel]:
        """Decide over the events of a portion that are still open; give the parcels they fill."""
        portion = portion.from_on(self._cursor)
        own, self._cursor = portion.sequences, max(self._cursor, portion.end)
        portion = portion.only(self._record.progress.unfinished(own))
        if portion.damage:
            self._record.lost(portion.end, own, _why(portion.damage))
            return []
        if self._decide.transforms:  # other people's code: not on the event loop
            decided = await in_own_thread(self._decide, portion.sequences, portion.events)
            self._fanout.expect(decided.sequences)
        else:
            decided = self._decide(portion.sequences, portion.events, portion.times)
        self._record.decided(portion.end, own, decided)
        return packer.add(decided, portion.accepted_at)


def _first(portion: Portion) -> int:
    return portion.sequences[0] if portion.sequences else portion.end


def _why(damage: str) -> str:
    return damage if damage == GONE else f"the journal cannot read these events: {damage}"
