"""Keeps account of events that a transformer has made into several: they end when the last part has ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from auditflow.pipelines.deliver.fallback import by_fallback
from auditflow.sinks._base import Outcome, Verdict


class Fanout:
    """Open parts per sequence number. Events with one part, the rule, take no room."""

    def __init__(self) -> None:
        self._open: dict[int, int] = {}
        self._ends: dict[int, Outcome] = {}

    @property
    def busy(self) -> bool:
        """Whether some event has several parts."""
        return bool(self._open)

    def expect(self, sequences: Sequence[int]) -> None:
        """Take note of the parts that are about to be delivered: one item per part."""
        if not isinstance(sequences, range):
            self._open |= {sequence: parts for sequence, parts in Counter(sequences).items() if parts > 1}

    def end(self, sequence: int, outcome: Outcome) -> Outcome | None:
        """One part has ended, delivered or given up. Give the end of the whole event; None while parts are open.

        The first part that was given up counts, else one that only the fallback has taken.
        """
        if sequence not in self._open:
            return outcome
        self._ends[sequence] = max(self._ends.get(sequence, outcome), outcome, key=_gravity)
        self._open[sequence] -= 1
        if self._open[sequence]:
            return None
        del self._open[sequence]
        return self._ends.pop(sequence)


def _gravity(outcome: Outcome) -> int:
    if outcome.verdict is not Verdict.DELIVERED:
        return 2
    return int(by_fallback(outcome.where))
