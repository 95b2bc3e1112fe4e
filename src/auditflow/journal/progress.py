"""How far a pipeline has come: a position, and what is finished beyond it."""

from __future__ import annotations


class Progress:
    """How far a pipeline has brought every event to a terminal state.

    `low`: every event below it is terminal. `done`: bit i is set when event `low + i` is terminal too, which
    happens when a later request succeeds before an earlier one.
    """

    __slots__ = ("done", "low")

    def __init__(self, low: int, done: int = 0) -> None:
        self.low = low
        self.done = done
        self._settle()

    def finish(self, first: int, count: int = 1) -> None:
        """Mark `count` events from `first` on as terminal; those that are so already may be among them."""
        skip = max(self.low - first, 0)
        if count > skip:
            self.done |= ((1 << (count - skip)) - 1) << (first + skip - self.low)
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
        return Progress(self.low, self.done)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Progress) and (self.low, self.done) == (other.low, other.done)

    __hash__ = None  # type: ignore[assignment] # it changes

    def __repr__(self) -> str:
        return f"Progress({self.low}, {self.done:#b})"

    def _settle(self) -> None:
        """Move `low` over the unbroken run of terminal events it stands on."""
        if self.done & 1:
            run = (~self.done & (self.done + 1)).bit_length() - 1
            self.low += run
            self.done >>= run
