"""What deduplication keeps in memory: who may have been seen, and where to look.

A Bloom filter says of an id "never seen" or "perhaps, between these two sequence numbers": 3.6 bytes per id
at one false alarm in a million. Filters grow inside a time slice and leave with it, so memory is bounded by
what the window accepts. The newest ids are also kept exactly, because most repeats are retries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rbloom import Bloom

FALSE_ALARMS: Final = 1e-6
SLICES: Final = 4
"""Filters of a window leave memory in this many steps."""
SMALLEST: Final = 250_000
GROWTH: Final = 2
LARGEST: Final = 16_000_000
RECENT: Final = 50_000
"""Ids of one generation kept exactly; two generations are kept."""


@dataclass(slots=True)
class Span:
    """A run of sequence numbers, and the filter over their ids."""

    first: int
    end: int
    slice: int
    newest: int
    """Unix time of the last id, milliseconds."""
    capacity: int
    ids: Bloom


class Window:
    """The ids of the last `milliseconds`, as 16 bytes each."""

    def __init__(self, milliseconds: int) -> None:
        self.milliseconds = milliseconds
        self._spans: list[Span] = []
        self._recent: dict[bytes, int] = {}
        self._former: dict[bytes, int] = {}

    def add(self, keys: Sequence[bytes], first: int, at: int) -> None:
        """Remember the ids of the events from `first` on, appended at Unix time `at` in milliseconds."""
        span = self._span(first, len(keys), at)
        span.ids.update(keys)
        span.end, span.newest = first + len(keys), max(span.newest, at)
        if len(self._recent) >= RECENT:
            self._former, self._recent = self._recent, {}
        self._recent.update(zip(keys, range(first, first + len(keys)), strict=True))

    def seen(self, keys: Sequence[bytes]) -> set[bytes]:
        """Give the ids that may have been seen."""
        found: set[bytes] = set()
        for span in self._spans:
            found.update(filter(span.ids.__contains__, keys))
        return found

    def recent(self, key: bytes) -> int | None:
        """Give the sequence number that an id had last, if that is not long ago."""
        return self._recent.get(key) or self._former.get(key)

    def spans(self) -> Iterator[Span]:
        """Give the runs of sequence numbers to search, newest first."""
        return reversed(self._spans)

    def expire(self, now: int) -> None:
        """Forget the slices that have left the window at Unix time `now` in milliseconds."""
        while self._spans and self._spans[0].newest < now - self.milliseconds:
            del self._spans[0]

    def _span(self, first: int, count: int, at: int) -> Span:
        """Give the span to add to: the last one, or a new one when it is full or its slice is over."""
        slice_number = at * SLICES // max(self.milliseconds, 1)
        last = self._spans[-1] if self._spans else None
        same_slice = last is not None and last.slice == slice_number
        if last is not None and same_slice and last.end - last.first + count <= last.capacity:
            return last
        capacity = min(last.capacity * GROWTH, LARGEST) if last is not None and same_slice else SMALLEST
        span = Span(first, first, slice_number, at, capacity, Bloom(max(capacity, count), FALSE_ALARMS))
        self._spans.append(span)
        return span
