"""A batch on its way to a sink."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, takewhile

from auditflow.sinks._base import BatchLimits


@dataclass(slots=True)
class Parcel:
    """Events for one call of a sink, as parallel lists."""

    sequences: list[int] = field(default_factory=list)
    originals: list[bytes] = field(default_factory=list)
    events: list[bytes] = field(default_factory=list)
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

    def only(self, keep: Sequence[int]) -> Parcel:
        """Give the events at these indexes as a parcel with the same history."""
        return Parcel(
            [self.sequences[i] for i in keep],
            [self.originals[i] for i in keep],
            [self.events[i] for i in keep],
            [self.accepted_at[i] for i in keep],
            attempts=self.attempts,
            held=self.held,
            counted=self.counted,
            first_failed=self.first_failed,
        )


class Packer:
    """Fills parcels up to a sink's limits, in the order of the events."""

    def __init__(self, limits: BatchLimits) -> None:
        self.limits = limits
        self.parcel = Parcel()

    def add(
        self, sequences: Sequence[int], originals: Sequence[bytes], events: Sequence[bytes], accepted_at: int
    ) -> list[Parcel]:
        """Add events and give the parcels that became full; the rest waits in `parcel`."""
        full = []
        start = 0
        while start < len(events):
            taken = self._room_for(events, start)
            if taken == 0:
                full.append(self.take())
            self._put(sequences, originals, events, accepted_at, slice(start, start + taken))
            start += taken
        if len(self.parcel) >= self.limits.events:
            full.append(self.take())
        return full

    def take(self) -> Parcel:
        """Give what has been gathered and begin anew."""
        parcel, self.parcel = self.parcel, Parcel()
        return parcel

    def _room_for(self, events: Sequence[bytes], start: int) -> int:
        """Say how many of the events from `start` on fit; an empty parcel takes one of any size."""
        stop = min(len(events), start + self.limits.events - len(self.parcel))
        room = self.limits.bytes - self.parcel.weight
        weights = accumulate(len(event) + self.limits.overhead for event in events[start:stop])
        fitting = sum(1 for _ in takewhile(room.__ge__, weights))
        return fitting or (0 if self.parcel.events else 1)

    def _put(
        self,
        sequences: Sequence[int],
        originals: Sequence[bytes],
        events: Sequence[bytes],
        accepted_at: int,
        part: slice,
    ) -> None:
        parcel = self.parcel
        added = events[part]
        parcel.sequences += sequences[part]
        parcel.originals += originals[part]
        parcel.events += added
        parcel.accepted_at += [accepted_at] * len(added)
        parcel.weight += sum(map(len, added)) + self.limits.overhead * len(added)
