"""How many events are whose: counted from the headers of blocks, none of which is decoded.

What nobody can say the tenant of, because it is lost, counts as everybody's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final

from auditflow.journal import Block, Journal
from auditflow.ledger import Account

READ_BLOCKS: Final = 500


class TenantCounts:
    """Counts, for each pipeline of one tenant, the events of others that it has not come by.

    Each count is kept from one time to the next: only the headers are read by which the pipeline, or the journal's
    head, has moved meanwhile, once for all pipelines. Safe to use from threads.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._counts: dict[str, _Count] = {}
        self._lock = Lock()

    def others(self, accounts: Sequence[Account], head: int) -> dict[str, int]:
        """Give by pipeline how many events from its `progress.seen` to `head` are other tenants'."""
        with self._lock:
            oldest = self._journal.oldest()
            found = self._others(accounts, head, oldest)
            while self._journal.oldest() != oldest:  # headers may have been evicted under our eyes
                oldest, self._counts = self._journal.oldest(), {}
                found = self._others(accounts, head, oldest)
            return found

    def _others(self, accounts: Sequence[Account], head: int, oldest: int) -> dict[str, int]:
        counts: dict[str, _Count] = {}
        moves: dict[str, list[_Move]] = defaultdict(list)
        for account in accounts:
            if account.tenant:
                seen = account.progress.seen
                count = self._counts.get(account.pipeline)
                if count is None or not oldest <= count.first <= seen or count.end > head:
                    count = _Count(seen, seen)  # what was counted is gone, or was another's
                moves[account.tenant] += _Move(count.first, seen, -1, count), _Move(count.end, head, 1, count)
                counts[account.pipeline] = count
        for start, end in _united((move.first, move.end) for some in moves.values() for move in some):
            for block in headers(self._journal, start, end):
                _count(block, moves)
        for account in accounts:
            if found := counts.get(account.pipeline):
                found.first, found.end = account.progress.seen, head
        self._counts = counts
        return {name: max(0, head - count.first - count.own) for name, count in counts.items()}


def others(journal: Journal, tenant: str, stretch: range) -> int:
    """Count the events of a stretch of the journal that are other tenants'."""
    blocks = headers(journal, stretch.start, stretch.stop) if tenant else ()
    return sum(block.count - block.tenants.get(tenant, 0) for block in blocks if block.tenants)


def headers(journal: Journal, start: int, end: int) -> Iterator[Block]:
    """Give the headers of the blocks from `start` to `end`; what is missing is a block without tenants."""
    while start < end:
        blocks = journal.headers(start, READ_BLOCKS)
        for block in blocks:
            if block.first > start:
                yield Block(start, min(block.first, end) - start, 0, {}, ())
            if block.first >= end:
                return
            yield block
            start = block.end
        if not blocks:
            yield Block(start, end - start, 0, {}, ())
            return


@dataclass(slots=True)
class _Count:
    """From `first` to before `end`, `own` events are the tenant's or everybody's."""

    first: int
    end: int
    own: int = 0


@dataclass(slots=True)
class _Move:
    """The events from `first` to before `end` come to a count, or leave it."""

    first: int
    end: int
    sign: int
    count: _Count


def _count(block: Block, moves: dict[str, list[_Move]]) -> None:
    for tenant in block.tenants or moves:
        own = block.tenants.get(tenant, block.count)
        for move in moves.get(tenant, ()):
            if move.first <= block.first < move.end:
                move.count.own += move.sign * own


def _united(stretches: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Join stretches that overlap or touch."""
    start = end = 0
    for first, last in sorted(each for each in stretches if each[0] < each[1]):
        if first > end:
            if start < end:
                yield start, end
            start = first
        end = max(end, last)
    if start < end:
        yield start, end
