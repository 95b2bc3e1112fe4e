"""Keeps account of events that a transformer has made into several: they end when the last part has ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from auditflow.sinks._base import Outcome


class Fanout:
    """Open parts per sequence number. Events with one part, the rule, take no room."""

    def __init__(self) -> None:
        self._open: dict[int, int] = {}
        self._rejected: dict[int, Outcome] = {}

    def expect(self, sequences: Sequence[int]) -> None:
        """Take note of the parts that are about to be delivered: one item per part."""
        if not isinstance(sequences, range):
            self._open |= {sequence: parts for sequence, parts in Counter(sequences).items() if parts > 1}

    def end(self, sequence: int, rejection: Outcome | None) -> tuple[bool, Outcome | None]:
        """One part has ended, rejected or delivered. Tell whether the event has, and its rejection if any."""
        if sequence not in self._open:
            return True, rejection
        if rejection is not None:
            self._rejected.setdefault(sequence, rejection)
        self._open[sequence] -= 1
        if self._open[sequence]:
            return False, None
        del self._open[sequence]
        return True, self._rejected.pop(sequence, None)
