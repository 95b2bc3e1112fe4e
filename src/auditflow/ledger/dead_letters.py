"""Dead letters: what a pipeline will not deliver, how to choose among them, and what a replay has come to."""
# Tested in tests/ledger/sqlite/test_ledger.py.

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from auditflow.ledger.receipts import Handed

LOST: Final = "LOST_IN_JOURNAL"
"""Code of events that were accepted and can no longer be read back."""


@dataclass(slots=True)
class DeadLetter:
    """One dead letter: events that a pipeline will not deliver, and why."""

    pipeline: str
    sequence: int
    """Of the first event."""
    code: str
    reason: str
    event: bytes = b""
    """As the journal held it, or as somebody edited it for a replay; empty when it is lost."""
    count: int = 1
    """1, except for a run of lost events."""
    attempts: int = 0
    """Deliveries tried since it was last replayed."""
    first_failed: int = 0
    """Unix time, milliseconds."""
    last_failed: int = 0
    tenant: str = ""
    """Empty when the event is lost, as is `event_id`."""
    event_id: str = ""
    id: int = 0
    """Given by the ledger, as is all that follows."""
    target: str = ""
    """The pipeline that is to deliver it again; empty while it is dead."""
    rate: float = 0.0
    """Events per second of that replay; 0 without a limit."""
    replayed_at: int = 0
    """When it was last replayed: Unix time, milliseconds; 0 for never."""
    history: str = "[]"
    """The failures before the last one: a JSON array, oldest first."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which dead letters: those that agree with everything that is not None."""

    pipeline: str | None = None
    tenant: str | None = None
    code: str | None = None
    since: int | None = None
    """Failed last at or after this time: Unix time, milliseconds."""
    until: int | None = None
    """Failed last before this time."""
    ids: Sequence[int] | None = None

    def values(self) -> dict[str, str | bytes | float | None]:
        """Give the selection as the parameters of the ledger's statements."""
        return {
            "pipeline": self.pipeline, "tenant": self.tenant, "code": self.code, "since": self.since,
            "until": self.until, "ids": None if self.ids is None else json.dumps(list(self.ids)),
        }  # fmt: skip


ALL: Final = Selection()


@dataclass(frozen=True, slots=True)
class DeadLetterGroup:
    """The dead letters of one pipeline with one code."""

    pipeline: str
    code: str
    letters: int
    events: int
    first_failed: int
    """The earliest first failure: Unix time, milliseconds."""
    last_failed: int


@dataclass(frozen=True, slots=True)
class Replay:
    """How dead letters are to be delivered again."""

    to: str | None = None
    """The pipeline that delivers them; their own when None."""
    rate: float = 0.0
    """Events per second; 0 without a limit."""
    event: bytes | None = None
    """What to deliver in place of the dead letter's event, after an edit. What was published goes into its history."""
    by: str = ""
    """Who has edited it."""


@dataclass(slots=True)
class Replayed:
    """What has become of dead letters that were replayed."""

    delivered: list[Handed] = field(default_factory=list)
    filtered: list[int] = field(default_factory=list)
    """Ids of dead letters that a transformer has dropped."""
    failed: list[DeadLetter] = field(default_factory=list)
    """Letters that are dead again; `id`, `code`, `reason`, `attempts` and `last_failed` count."""

    def __bool__(self) -> bool:
        return bool(self.delivered or self.filtered or self.failed)

    def add(self, other: Replayed) -> None:
        """Take in what has become of further dead letters."""
        self.delivered += other.delivered
        self.filtered += other.filtered
        self.failed += other.failed
