"""How far a pipeline has come: a position, and what is finished beyond it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


class Progress:
    """How far a pipeline has brought every event to a terminal state.

    `low`: every event below it is terminal. `done`: bit i is set when event `low + i` is terminal too, which
    happens when a later request succeeds before an earlier one.
    """

    __slots__ = ("done", "low")

    others: int = 0
    """How many events it has come by that are other tenants': none, where everybody's are the pipeline's."""

    def __init__(self, low: int, done: int = 0) -> None:
        self.low = low
        self.done = done
        self._settle()

    @property
    def seen(self) -> int:
        """Up to where it knows which events are other tenants'."""
        return self.low

    def finish(self, first: int, count: int = 1) -> None:
        """Mark `count` events from `first` on as terminal; those that are so already may be among them."""
        skip = max(self.low - first, 0)
        if count > skip:
            self.done |= ((1 << (count - skip)) - 1) << (first + skip - self.low)
            self._settle()

    def finish_all(self, sequences: Sequence[int]) -> None:
        """Mark these events, in ascending order, as terminal."""
        for run in runs(sequences):
            self.finish(run.start, len(run))

    def come_by(
        self,
        end: int,  # noqa: ARG002 - it is of use where there are other tenants
        own: Sequence[int],  # noqa: ARG002
        left: Sequence[int],  # noqa: ARG002
        ended: Sequence[int] = (),
    ) -> None:
        """Take note that of the events to before `end` only `own` are the pipeline's: `left` are open, `ended` terminal.

        All are in ascending order.
        """
        self.finish_all(ended)

    def finished(self, sequence: int) -> bool:
        """Tell whether the event is terminal."""
        return sequence < self.low or bool(self.done >> (sequence - self.low) & 1)

    def unfinished(self, sequences: Sequence[int]) -> Sequence[int]:
        """Give those of the events, in ascending order, that are not terminal."""
        if not sequences or (sequences[0] >= self.low and not self.done >> (sequences[0] - self.low)):
            return sequences
        return [sequence for sequence in sequences if not self.finished(sequence)]

    def pending(self, end: int, others: int = 0) -> int:
        """Count the events before `end` that are not terminal; `others` from `seen` on are other tenants'."""
        return end - self.low - self.beyond() - others

    def beyond(self) -> int:
        """Count the terminal events at or above `low`."""
        return self.done.bit_count()

    def ahead(self, end: int) -> int:
        """Give how much it has to remember when it has read to before `end`, in events."""
        return end - self.low

    def end(self) -> int:
        """Give the sequence number after the last terminal event."""
        return self.low + self.done.bit_length()

    def forget(self, oldest: int) -> int:
        """Go on at `oldest`; give how many events below it were not terminal."""
        gone = oldest - self.low
        terminal = (self.done & ((1 << gone) - 1)).bit_count()
        self.low, self.done = oldest, self.done >> gone
        self._settle()
        return gone - terminal

    def copy(self) -> Progress:
        """Give an independent copy."""
        return Progress(self.low, self.done)

    def packed(self) -> bytes:
        """Give what is to be kept besides the numbers."""
        return self.done.to_bytes((self.done.bit_length() + 7) // 8, "little")

    @classmethod
    def unpacked(cls, low: int, packed: bytes) -> Progress:
        """Undo `packed`."""
        return cls(low, int.from_bytes(packed, "little"))

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._state() == other._state()

    __hash__ = None  # type: ignore[assignment] # it changes

    def __repr__(self) -> str:
        return f"Progress({self.low}, {self.done:#b})"

    def _state(self) -> tuple[object, ...]:
        return self.low, self.done

    def _settle(self) -> None:
        """Move `low` over the unbroken run of terminal events it stands on."""
        if self.done & 1:
            run = (~self.done & (self.done + 1)).bit_length() - 1
            self.low += run
            self.done >>= run


def runs(sequences: Sequence[int]) -> Iterator[range]:
    """Group ascending numbers into unbroken runs."""
    if not sequences:
        return
    if sequences[-1] - sequences[0] == len(sequences) - 1:
        yield range(sequences[0], sequences[-1] + 1)
        return
    start = previous = sequences[0]
    for sequence in sequences[1:]:
        if sequence != previous + 1:
            yield range(start, previous + 1)
            start = sequence
        previous = sequence
    yield range(start, previous + 1)
