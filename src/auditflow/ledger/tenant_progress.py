"""How far a pipeline of one tenant has come: the events of all others cost nothing, however many they are."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import chain

from auditflow.ledger.progress import Progress, runs
from auditflow.storage.integer_columns import pack, unpack


class TenantProgress(Progress):
    """A progress that remembers what is open instead of what is done.

    Up to before `seen`, all events are terminal or other tenants', which are `others`, except those in the open
    runs. So it takes room for what is on its way, and not for what lies between.
    """

    __slots__ = ("_ends", "_seen", "_starts", "others")

    def __init__(  # not the bit map's
        self, seen: int, others: int = 0, starts: Iterable[int] = (), ends: Iterable[int] = ()
    ) -> None:
        """Begin with the open runs that have these starts and ends, ascending and apart from each other."""
        self._seen = seen
        self.others = others
        self._starts = list(starts)
        self._ends = list(ends)
        self._settle()

    @property
    def seen(self) -> int:
        """Up to where it knows which events are other tenants'."""
        return self._seen

    def finish(self, first: int, count: int = 1) -> None:
        """Mark `count` events from `first` on as terminal; those that are so already may be among them."""
        self._leave(first, first + count, [])

    def finish_all(self, sequences: Sequence[int]) -> None:
        """Mark these events, in ascending order, as terminal."""
        if sequences:
            first, end = sequences[0], sequences[-1] + 1
            between, ended = self._open(first, end), list(sequences)
            if between == ended:  # mostly: a batch's
                self._leave(first, end, [])
            else:
                self._leave(first, end, sorted(set(between).difference(ended)))

    def come_by(self, end: int, own: Sequence[int], left: Sequence[int], ended: Sequence[int] = ()) -> None:
        """Take note that of the events to before `end` only `own` are the pipeline's: `left` are open, `ended` terminal."""
        first = self.seen
        self.finish_all(ended[: bisect_left(ended, first)])  # the rest has never been open
        if end <= first:
            return
        self.others += end - first - (len(own) - bisect_left(own, first))
        self._seen = end
        self._leave(first, end, left[bisect_left(left, first) :])

    def finished(self, sequence: int) -> bool:
        """Tell whether the event, which is the pipeline's, is terminal."""
        place = bisect_right(self._ends, sequence)
        return sequence < self.seen and not (place < len(self._starts) and self._starts[place] <= sequence)

    def unfinished(self, sequences: Sequence[int]) -> Sequence[int]:
        """Give those of the events, in ascending order, that are not terminal."""
        if not sequences or sequences[0] >= self.seen:
            return sequences
        return [sequence for sequence in sequences if not self.finished(sequence)]

    def pending(self, end: int, others: int = 0) -> int:
        """Count the events before `end` that are not terminal; `others` from `seen` on are other tenants'."""
        return end - self.seen - others + sum(self._ends) - sum(self._starts)

    def beyond(self) -> int:
        """Count the terminal events at or above `low`."""
        return self.seen - self.low - sum(self._ends) + sum(self._starts)

    def ahead(self, end: int) -> int:  # noqa: ARG002 - however far it has read
        """Give how much it has to remember, in events: no less than there are runs."""
        return len(self._starts)

    def end(self) -> int:
        """Give the sequence number after the last event it has come by."""
        return self.seen

    def forget(self, oldest: int) -> int:
        """Go on at `oldest`; give how many events below it were not terminal."""
        gone = self.pending(max(self.seen, oldest))
        self.finish(0, oldest)
        self._seen = max(self.seen, oldest)
        self._settle()
        return gone - self.pending(self.seen)

    def copy(self) -> TenantProgress:
        """Give an independent copy."""
        return TenantProgress(self.seen, self.others, self._starts, self._ends)

    def packed(self) -> bytes:
        """Give what is to be kept besides the numbers: where the open runs begin, and where they end, deflated."""
        return pack(self._starts + self._ends)

    @classmethod
    def of_runs(cls, seen: int, others: int, packed: bytes) -> TenantProgress:
        """Undo `packed`."""
        column = unpack(packed)
        half = len(column) // 2
        return cls(seen, others, column[:half], column[half:])

    def __repr__(self) -> str:
        return f"TenantProgress{self._state()}"

    def _state(self) -> tuple[object, ...]:
        return self.seen, self.others, self._starts, self._ends

    def _open(self, first: int, end: int) -> list[int]:
        """Give the open events from `first` to before `end`."""
        begin, stop = bisect_right(self._ends, first), bisect_left(self._starts, end)
        starts, ends = self._starts[begin:stop], self._ends[begin:stop]
        if starts:
            starts[0], ends[-1] = max(starts[0], first), min(ends[-1], end)
        return list(chain.from_iterable(map(range, starts, ends)))

    def _leave(self, first: int, end: int, sequences: Sequence[int]) -> None:
        """Leave of the events from `first` to before `end` only these open."""
        begin, stop = bisect_right(self._ends, first), bisect_left(self._starts, end)
        left = list(runs(sequences))
        if begin < stop:
            before, after = range(self._starts[begin], first), range(end, self._ends[stop - 1])
            left = [run for run in (before, *left, after) if run]
        self._starts[begin:stop] = [run.start for run in left]
        self._ends[begin:stop] = [run.stop for run in left]
        self._settle()

    def _settle(self) -> None:
        self.low = self._starts[0] if self._starts else self.seen


def fitting(progress: Progress, tenant: str) -> Progress:
    """Give a progress as a pipeline of this tenant needs it, or one that gets everybody's events if it is empty."""
    if isinstance(progress, TenantProgress) == bool(tenant):
        return progress
    if tenant:
        still = [
            sequence for sequence in range(progress.low, progress.end()) if not progress.finished(sequence)
        ]
        moved = TenantProgress(progress.low)
        moved.come_by(progress.end(), range(progress.low, progress.end()), still)
        return moved
    whole = Progress(progress.low)
    whole.finish_all([one for one in range(progress.low, progress.seen) if progress.finished(one)])
    return whole
