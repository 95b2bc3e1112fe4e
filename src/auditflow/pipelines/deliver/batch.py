"""A batch on its way to a sink."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from auditflow.pipelines.decide.decision import Decided
from auditflow.sinks._base import BatchLimits, TimedEvents


@dataclass(slots=True)
class Batch:
    """Events for one call of a sink, as parallel lists."""

    sequences: list[int] = field(default_factory=list)
    originals: list[bytes] = field(default_factory=list)
    events: list[bytes] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    """When each event happened, Unix milliseconds; empty where that is not known."""
    accepted_at: list[int] = field(default_factory=list)
    """Unix time, milliseconds, when the journal took the event."""
    weight: int = 0
    """Bytes as the destination counts them."""
    attempts: int = 0
    """Calls of a sink it was in."""
    held: int = 0
    """Those of them that do not count as failures: the destination was blocked, or it was the fallback."""
    counted: int = 0
    """Those of them that the pipeline's account has already."""
    first_failed: int = 0
    """Unix time, milliseconds; 0 until a delivery has failed."""

    def __len__(self) -> int:
        return len(self.events)

    @property
    def load(self) -> Sequence[bytes]:
        """The events as the sink gets them: with their times, where these are known."""
        return TimedEvents(self.events, self.times) if self.times else self.events

    def only(self, keep: Sequence[int]) -> Batch:
        """Give the events at these indexes as a batch with the same history."""
        return Batch(
            [self.sequences[i] for i in keep],
            [self.originals[i] for i in keep],
            [self.events[i] for i in keep],
            [self.times[i] for i in keep] if self.times else [],
            [self.accepted_at[i] for i in keep],
            attempts=self.attempts,
            held=self.held,
            counted=self.counted,
            first_failed=self.first_failed,
        )


class Batcher:
    """Fills batches up to a sink's limits, in the order of the events."""

    def __init__(self, limits: BatchLimits) -> None:
        self.limits = limits
        self.batch = Batch()

    def add(self, decided: Decided, accepted_at: int) -> list[Batch]:
        """Add events and give the batches that became full; the rest waits in `batch`."""
        filled = list(accumulate(map(len, decided.events), initial=0))
        full = []
        start = 0
        while start < len(decided.events):
            end = self._fitting(filled, start)
            if end == start:
                full.append(self.take())
            else:
                self._put(decided, accepted_at, slice(start, end), self._weight(filled, start, end))
            start = end
        if len(self.batch) >= self.limits.events:
            full.append(self.take())
        return full

    def take(self) -> Batch:
        """Give what has been gathered and begin again."""
        batch, self.batch = self.batch, Batch()
        return batch

    def _fitting(self, filled: Sequence[int], start: int) -> int:
        """Give the end of the events from `start` on that fit; an empty batch takes one of any size."""
        most = min(len(filled) - 1, start + self.limits.events - len(self.batch))
        room = self.limits.bytes - self.batch.weight
        ends = range(start + 1, most + 1)
        end = start + bisect_right(ends, room, key=lambda end: self._weight(filled, start, end))
        return end if end > start or self.batch.events else start + 1

    def _weight(self, filled: Sequence[int], start: int, end: int) -> int:
        return filled[end] - filled[start] + self.limits.overhead * (end - start)

    def _put(self, decided: Decided, accepted_at: int, part: slice, weight: int) -> None:
        batch = self.batch
        events = decided.events[part]
        batch.sequences += decided.sequences[part]
        batch.originals += decided.originals[part]
        batch.events += events
        batch.times += decided.times[part]
        batch.accepted_at += [accepted_at] * len(events)
        batch.weight += weight
