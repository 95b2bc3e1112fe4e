"""What of a block is one pipeline's: all of it, or the events of its tenant."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from auditflow.journal import Block


@dataclass(frozen=True, slots=True)
class Share:
    """Some events of a block. `places` are their indexes in it, ascending; None means all of them.

    What is lost may have been anybody's, so that everybody's share of it is all.
    """

    block: Block
    places: Sequence[int] | None = None

    def __len__(self) -> int:
        return self.block.count if self.places is None else len(self.places)

    def sequences(self, start: int) -> Sequence[int]:
        """Give the sequence numbers of the events from `start` on."""
        first = self.block.first
        if self.places is None:
            return range(max(start, first), self.block.end)
        return [first + place for place in self.places[bisect_left(self.places, start - first) :]]

    def before(self, end: int) -> Share:
        """Give the part of it before a sequence number."""
        block = self.block
        if block.end <= end:
            return self
        count = end - block.first
        places = None if self.places is None else self.places[: bisect_left(self.places, count)]
        cut = Block(
            block.first, count, block.appended_at, {}, block.events[:count], block.damage, block.times[:count]
        )
        return Share(cut, places)


def share(block: Block, tenant: str) -> Share:
    """Give a tenant's share; with no tenant, all of the block."""
    if not tenant or not block.tenants or block.damage:
        return Share(block)
    if tenant not in block.tenants:
        return Share(block, ())
    if len(block.tenants) == 1:
        return Share(block)
    index = list(block.tenants).index(tenant)
    return Share(block, [place for place, owner in enumerate(block.owners) if owner == index])


def shares(block: Block, tenants: Collection[str]) -> Iterator[tuple[str, Share]]:
    """Give the shares of those of the tenants that have one, going through the block once."""
    if not block.tenants or block.damage:
        yield from ((tenant, Share(block)) for tenant in tenants)
        return
    if len(block.tenants) == 1:
        yield from ((tenant, Share(block)) for tenant in block.tenants if tenant in tenants)
        return
    places: dict[int, list[int]] = defaultdict(list)
    for place, owner in enumerate(block.owners):
        places[owner].append(place)
    for index, tenant in enumerate(block.tenants):
        if tenant in tenants:
            yield tenant, Share(block, places[index])
