"""How far a pipeline has come: a position, and what is finished beyond it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_ZERO: Final = ord("0")


class Progress:
    """How far a pipeline has brought every event to a terminal state.

    `low`: every event below it is terminal. `done`: bit i is set when event `low + i` is terminal too, which
    happens when a later request succeeds before an earlier one. The events of other tenants are as good as terminal
    once the pipeline has come by them: it has up to `seen`, and `others` is how many they were.
    """

    __slots__ = ("done", "low", "others", "seen")

    def __init__(self, low: int, done: int = 0, seen: int = 0, others: int = 0) -> None:
        self.low = low
        self.done = done
        self.seen = max(seen, low)
        self.others = others
        self._settle()

    def finish(self, first: int, count: int = 1) -> None:
        """Mark `count` events from `first` on as terminal; those that are so already may be among them."""
        skip = self.low - first
        if skip >= count:
            return
        if skip >= 0:  # however many: nothing has to be remembered of what lies below `low`
            self.low += count - skip
            self.done >>= count - skip
        else:
            self.done |= ((1 << count) - 1) << -skip
        self._settle()

    def come_by(self, end: int, own: Sequence[int]) -> None:
        """Go on to `end`: from `seen` to there, all but `own` (ascending) are events of other tenants."""
        first = max(self.seen, self.low)
        if end <= first:
            return
        self.seen = end
        if len(own) == end - first:
            return
        self.others += end - first - len(own)
        if not own:
            self.finish(first, end - first)
            return
        self.finish(first, own[0] - first)
        bits = bytearray(b"1") * (end - own[0])
        for sequence in own:
            bits[end - 1 - sequence] = _ZERO
        self.done |= int(bits, 2) << (own[0] - self.low)
        self._settle()

    def finished(self, sequence: int) -> bool:
        """Tell whether the event is terminal."""
        return sequence < self.low or bool(self.done >> (sequence - self.low) & 1)

    def beyond(self) -> int:
        """Count the terminal events at or above `low`."""
        return self.done.bit_count()

    def end(self) -> int:
        """Give the sequence number after the last terminal event."""
        return self.low + self.done.bit_length()

    def copy(self) -> Progress:
        """Give an independent copy."""
        return Progress(self.low, self.done, self.seen, self.others)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Progress) and (
            (self.low, self.done, self.others) == (other.low, other.done, other.others)
        )

    __hash__ = None  # type: ignore[assignment] # it changes

    def __repr__(self) -> str:
        return f"Progress({self.low}, {self.done:#b})"

    def _settle(self) -> None:
        """Move `low` over the unbroken run of terminal events it stands on."""
        if self.done & 1:
            run = (~self.done & (self.done + 1)).bit_length() - 1
            self.low += run
            self.done >>= run
