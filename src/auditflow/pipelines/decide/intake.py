"""The first half of a pipeline: read blocks, decide over their events, fill batches for the sink."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from math import inf
from typing import Final

from auditflow.pipelines.decide.decision import Decide
from auditflow.pipelines.deliver.batch import Batch, Batcher
from auditflow.pipelines.deliver.fan_out import Fanout
from auditflow.pipelines.deliver.pause_gate import PauseGate
from auditflow.pipelines.read.slice import BlockSlice
from auditflow.pipelines.read.tail import GONE, POLL_SECONDS, Source
from auditflow.pipelines.record.outcomes import PipelineOutcomes
from auditflow.plugin_call import in_own_thread
from auditflow.sinks._base import BatchLimits

MAX_AHEAD: Final = 250_000
"""How many events past the first unfinished one are read: bounds what progress has to remember."""


class Intake:
    """Reads on from the pipeline's progress. What ends here, filtered or failed, is settled at once."""

    def __init__(
        self, source: Source, gate: PauseGate, decide: Decide, record: PipelineOutcomes, fanout: Fanout
    ) -> None:
        self.advanced = asyncio.Event()
        """To be set whenever events have become terminal."""
        self._source = source
        self._gate = gate
        self._decide = decide
        self._record = record
        self._fanout = fanout
        self._cursor = record.progress.low

    async def batches(self, limits: BatchLimits) -> AsyncIterator[Batch]:
        """Give full batches at once and a partial one when it has lingered; ends with the source.

        Raises Stopped.
        """
        batcher = Batcher(limits)
        clock = asyncio.get_running_loop().time
        leaves_at = inf
        while not self._source.ended():
            async for full in self._filled(await self._slices(leaves_at), batcher):
                leaves_at = inf
                yield full
                del full  # thousands may wait for events: none is to hold meanwhile what it has had
            if not len(batcher.batch):
                continue
            leaves_at = min(leaves_at, clock() + limits.linger)
            if clock() >= leaves_at or self._far_ahead(self._cursor):
                leaves_at = inf
                yield batcher.take()

    async def _slices(self, until: float) -> list[BlockSlice]:
        """Wait for events, at most until the given time of the loop. Raises Stopped."""
        slices = await self._source.next(self._cursor, self._gate, until)
        while not self._record.writable() or self._record.held():
            await self._gate.wait(POLL_SECONDS)
        return slices

    async def _filled(self, slices: list[BlockSlice], batcher: Batcher) -> AsyncIterator[Batch]:
        """Take slices in; give the batches that have to leave before one, or become full by it."""
        for block_slice in slices:
            if len(batcher.batch) and self._too_far(block_slice, batcher.batch):
                yield batcher.take()
            await self._near_enough(block_slice)
            for full in await self._take_in(block_slice, batcher):
                yield full

    async def _near_enough(self, block_slice: BlockSlice) -> None:
        """Wait until there is room to remember what has not ended."""
        while self._far_ahead(_first(block_slice)) and not self._gate.stopped:
            self.advanced.clear()
            await self.advanced.wait()

    def _far_ahead(self, end: int) -> bool:
        return self._record.progress.ahead(end) > MAX_AHEAD

    def _too_far(self, block_slice: BlockSlice, batch: Batch) -> bool:
        """Tell whether a batch has to leave before the slice is taken: a receipt's events lie close together."""
        return self._far_ahead(_first(block_slice)) or _first(block_slice) - batch.sequences[0] > MAX_AHEAD

    async def _take_in(self, block_slice: BlockSlice, batcher: Batcher) -> list[Batch]:
        """Decide over the events of a slice that are still open; give the batches they fill."""
        block_slice = block_slice.from_on(self._cursor)
        own, self._cursor = block_slice.sequences, max(self._cursor, block_slice.end)
        block_slice = block_slice.only(self._record.progress.unfinished(own))
        if block_slice.damage:
            self._record.lost(block_slice.end, own, _why(block_slice.damage))
            return []
        if self._decide.transforms:  # other people's code: not on the event loop
            decided = await in_own_thread(self._decide, block_slice.sequences, block_slice.events)
            self._fanout.expect(decided.sequences)
        else:
            decided = self._decide(block_slice.sequences, block_slice.events, block_slice.times)
        if block_slice.gone:
            gone = self._record.progress.unfinished(block_slice.gone)
            decided = replace(decided, filtered=sorted([*decided.filtered, *gone]))
        self._record.decided(block_slice.end, own, decided)
        return batcher.add(decided, block_slice.accepted_at)


def _first(block_slice: BlockSlice) -> int:
    return block_slice.sequences[0] if block_slice.sequences else block_slice.end


def _why(damage: str) -> str:
    return damage if damage == GONE else f"the journal cannot read these events: {damage}"
