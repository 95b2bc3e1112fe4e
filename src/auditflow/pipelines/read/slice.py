"""Events of the journal as a pipeline reads them: some of its own, and how far there are no others of its own."""
# Tested in tests/pipelines/read/test_tail.py.

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

from auditflow.journal import GONE, Block


@dataclass(frozen=True, slots=True)
class BlockSlice:
    """Events as parallel lists, in order."""

    end: int
    """Before this sequence number there are no further events of the pipeline."""
    sequences: Sequence[int] = ()
    events: Sequence[bytes] = ()
    times: Sequence[int] = ()
    accepted_at: int = 0
    """When the first was accepted: Unix time, milliseconds."""
    damage: str = ""
    """Why the events cannot be read; then there are none, and `sequences` may have been anybody's."""
    gone: Sequence[int] = ()
    """Events of others that are no longer there, and that a pipeline of everybody's events comes by all the same."""

    def from_on(self, start: int) -> BlockSlice:
        """Give the part of it from a sequence number on."""
        return self._part(bisect_left(self.sequences, start), len(self.sequences), start, self.end)

    def before(self, end: int) -> BlockSlice:
        """Give the part of it before a sequence number."""
        return self if self.end <= end else self._part(0, bisect_left(self.sequences, end), 0, end)

    def only(self, sequences: Sequence[int]) -> BlockSlice:
        """Give it with these of its events, in ascending order."""
        if self.damage or len(sequences) == len(self.sequences):
            return self
        chosen = set(sequences)
        places = [place for place, sequence in enumerate(self.sequences) if sequence in chosen]
        events, times = (
            [self.events[i] for i in places],
            [self.times[i] for i in places] if self.times else (),
        )
        return replace(self, sequences=sequences, events=events, times=times)

    def _part(self, first: int, last: int, start: int, end: int) -> BlockSlice:
        gone = [sequence for sequence in self.gone if start <= sequence < end]
        if (first, last, end) == (0, len(self.sequences), self.end) and len(gone) == len(self.gone):
            return self
        return replace(
            self, end=end, sequences=self.sequences[first:last], events=self.events[first:last],
            times=self.times[first:last], gone=gone,
        )  # fmt: skip


def slice_block(block: Block, places: Sequence[int] | None = None) -> BlockSlice:
    """Give the events at these places in a block, in ascending order, or all of them."""
    if block.damage:
        return BlockSlice(block.end, range(block.first, block.end), damage=block.damage)
    if places is None:
        return BlockSlice(
            block.end, range(block.first, block.end), block.events, block.times, block.appended_at
        )
    return BlockSlice(
        block.end,
        [block.first + place for place in places],
        [block.events[place] for place in places],
        [block.times[place] for place in places],
        block.appended_at,
    )


def tenant_slice(block: Block, tenant: str) -> BlockSlice:
    """Give what of a block is a tenant's; with no tenant, all of it."""
    if not tenant and any(name.startswith(GONE) for name in block.tenants):
        there = slice_block(block, [place for place, event in enumerate(block.events) if event])
        return replace(there, gone=[block.first + at for at, event in enumerate(block.events) if not event])
    if not tenant or not block.tenants or block.tenants.keys() == {tenant}:
        return slice_block(block)
    if tenant not in block.tenants:
        return slice_block(block, ())
    index = list(block.tenants).index(tenant)
    return slice_block(block, [place for place, owner in enumerate(block.owners) if owner == index])
