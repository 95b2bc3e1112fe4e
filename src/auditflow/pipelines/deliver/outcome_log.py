"""What a dispatcher tells of the events it delivers, and to whom."""
# Tested in tests/pipelines/test_pipeline.py.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from auditflow.ledger import DeadLetter
from auditflow.pipelines.deliver.batch import Batch
from auditflow.sinks._base import Outcome


class Delivered(NamedTuple):
    """Events that one call has delivered to one place."""

    place: Mapping[str, Any]
    """In the sink's words."""
    sequences: list[int]
    owed: bool
    """Whether they are at the fallback and the first destination is to get them, too."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """What calls of a sink have brought to an end of one batch."""

    attempts: int
    """How often the batch has been tried so far."""
    calls: int = 0
    """How many of these attempts no earlier settlement has counted."""
    duplicates: int = 0
    """How many events may have arrived although they are tried again."""
    delivered: Sequence[Delivered] = ()
    letters: list[DeadLetter] = field(default_factory=list)


class OutcomeLog(Protocol):
    """Where a dispatcher writes what has become of events: those of the journal, or those of dead letters."""

    def aging_now(self) -> int:
        """Give the time by which events are given up for their age, in milliseconds."""

    def now(self) -> int:
        """Give Unix time in milliseconds."""

    def settled(self, settlement: Settlement) -> None:
        """Take note of what further calls of a sink have brought to an end."""

    def undeliverable(self, batch: Batch, i: int, rejection: Outcome) -> DeadLetter:
        """Write a dead letter of the batch's i-th event; it counts once it has been handed to `settled`."""

    def problem(self, key: object, problem: Outcome | None) -> None:
        """Keep what hinders one batch now, or that nothing does, for status."""

    def aside(self, problem: Outcome | None) -> None:
        """Keep what makes events go to the fallback now, or that they do not, for status."""
