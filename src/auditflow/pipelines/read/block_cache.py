"""Blocks that were read lately by a pipeline that lags, for the others that do: where one lags, many may."""
# Tested in tests/pipelines/read/test_tail.py.

from __future__ import annotations

from bisect import bisect_right, insort
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

from auditflow.journal import Block
from auditflow.pipelines.read.slice import BlockSlice, slice_block

ROOM_BYTES: Final = 32 * 2**20
"""Events that are kept, of decoded blocks."""


class BlockCache:
    """Decoded blocks; those that came first go first."""

    def __init__(self) -> None:
        self._parted: dict[int, _Parted] = {}
        self._firsts: list[int] = []
        self._weight = 0

    def add(self, blocks: list[Block]) -> None:
        """Keep those that are decoded and have events of several tenants: nobody else asks for the others."""
        for block in blocks:
            if block.owners and block.first not in self._parted:
                self._parted[block.first] = _Parted(block)
                insort(self._firsts, block.first)
                self._weight += weight(block)
        while self._weight > ROOM_BYTES:
            first = next(iter(self._parted))
            self._weight -= weight(self._parted.pop(first).block)
            self._firsts.remove(first)

    def slices(self, start: int, tenant: str) -> list[BlockSlice]:
        """Give what is a tenant's of the blocks from the one that holds `start` on, as far as they are here."""
        found: list[BlockSlice] = []
        place = max(0, bisect_right(self._firsts, start) - 1)
        for first in self._firsts[place:]:
            parted = self._parted[first]
            if not parted.block.first <= start < parted.block.end:
                break
            found.append(parted.slice_block(tenant))
            start = parted.block.end
        return found


@dataclass(slots=True)
class _Parted:
    """A block, and where each tenant's events are in it, which is found out when somebody asks."""

    block: Block
    places: dict[str, list[int]] = field(default_factory=dict)

    def slice_block(self, tenant: str) -> BlockSlice:
        if not self.places:
            by_owner: dict[int, list[int]] = defaultdict(list)
            for place, owner in enumerate(self.block.owners):
                by_owner[owner].append(place)
            self.places = {name: by_owner[owner] for owner, name in enumerate(self.block.tenants)}
        return slice_block(self.block, self.places.get(tenant, []))


def weight(block: Block) -> int:
    """Estimate the memory a block takes: an object costs about 100 bytes besides its text."""
    return sum(map(len, block.events)) + 100 * len(block.events)
