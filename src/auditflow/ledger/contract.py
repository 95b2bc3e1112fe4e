"""The ledger's contract: what became of every event, per pipeline, and what every engine promises."""
# Tested in tests/ledger/sqlite/test_ledger.py.

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from auditflow.ledger.dead_letters import ALL, DeadLetter, DeadLetterGroup, Replay, Replayed, Selection
from auditflow.ledger.progress import Progress
from auditflow.ledger.receipts import Receipt

NOBODY: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(slots=True)
class Update:
    """A change to one pipeline, made whole or not at all. Counts are additions, not totals."""

    pipeline: str
    progress: Progress
    delivered: int = 0
    filtered: int = 0
    attempts: int = 0
    """Calls to the sink."""
    duplicates: int = 0
    """Events that may have been delivered twice."""
    letters: list[DeadLetter] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    paid: list[int] = field(default_factory=list)
    """Ids of receipts whose events the first destination has now, too."""
    replay_range: int = 0
    """Id of the stretch that is delivered again, whose progress this is; 0 for the pipeline's own."""

    def add(self, other: Update) -> None:
        """Take in a further change of the same pipeline."""
        self.progress = other.progress
        self.delivered += other.delivered
        self.filtered += other.filtered
        self.attempts += other.attempts
        self.duplicates += other.duplicates
        self.letters += other.letters
        self.receipts += other.receipts
        self.paid += other.paid

    def as_it_is(self) -> Update:
        """Give it with a copy of its progress, which goes on changing."""
        return Update(
            self.pipeline, self.progress.copy(), self.delivered, self.filtered, self.attempts,
            self.duplicates, self.letters, self.receipts, self.paid, self.replay_range,
        )  # fmt: skip


@dataclass(slots=True)
class ReplayRange:
    """A stretch of the journal that a pipeline delivers again, beside what is new."""

    id: int
    first: int
    end: int
    """Sequence number after its last event."""
    progress: Progress
    others: int = 0
    """How many of its events are other tenants'."""

    @property
    def pending(self) -> int:
        """How many of its events have not ended yet."""
        return max(0, self.progress.pending(self.end, self.others - self.progress.others))

    def open(self, sequence: int) -> bool:
        """Tell whether the event is one of those."""
        return self.first <= sequence < self.end and not self.progress.finished(sequence)


@dataclass(slots=True)
class Account:
    """A pipeline as the ledger has it.

    In a consistent reading of journal and ledger
    ``accepted(head) == delivered + filtered + dead_lettered + pending(head)``. For a pipeline of one tenant, both
    also need to know how many events of other tenants there are from `progress.seen` to `head`: see `tenant_counts`.
    """

    pipeline: str
    active: bool
    base: int
    """Sequence number of the first event this pipeline is accountable for."""
    progress: Progress
    delivered: int = 0
    filtered: int = 0
    dead_lettered: int = 0
    replaying: int = 0
    """Events out of dead letters that are to be delivered again."""
    again: int = 0
    """Events of replay ranges: it is accountable for them once more."""
    attempts: int = 0
    duplicates: int = 0
    paused: bool = False
    """Whether somebody has told it to wait."""
    condition: str = "{}"
    """JSON that the delivery process keeps for status: state, last error, since when."""
    replay_ranges: list[ReplayRange] = field(default_factory=list)
    """What it delivers again, oldest first."""
    owed: int = 0
    """Events delivered by the fallback that the first destination is to get, too."""
    tenant: str = ""
    """Whose events it gets; empty for everybody's."""
    to_replay: bool = False
    """Whether there are dead letters that it is to deliver again."""
    owed_until: int | None = None
    """Of an inactive pipeline that has events to deliver: the sequence number after the last of them."""

    def accepted(self, head: int, others: int = 0) -> int:
        """Count the events it is accountable for, when the journal's head is `head`."""
        return head - self.base - self.progress.others - others + self.again

    def pending(self, head: int, others: int = 0) -> int:
        """Count those of them that have not ended."""
        waiting = self.replaying + sum(replay_range.pending for replay_range in self.replay_ranges)
        return self.progress.pending(head, others) + waiting

    def oldest_open(self) -> int:
        """Give the first sequence number that has not ended, dead letters aside."""
        return min([self.progress.low, *(replay_range.progress.low for replay_range in self.replay_ranges)])


class Ledger(ABC):
    """What became of every event, per pipeline. One process writes; any number of processes read."""

    @abstractmethod
    def register(
        self,
        pipelines: Sequence[str],
        head: int,
        oldest: int,
        owners: Mapping[str, str] = NOBODY,
        settled: Collection[str] = (),
    ) -> None:
        """Make exactly these pipelines active; `owners` says whose events those get that do not get everybody's.

        One that is active no longer keeps what it has to deliver up to `head`, until it is active again or forgotten;
        not so those named in `settled`, of which the caller knows that no event of theirs is pending.

        A new one starts at `head`; in a ledger that knows no pipeline yet, at `oldest`, so that a lost
        ledger repeats work and never skips it. A known one goes on where it stopped; what was evicted after
        it left owing nothing (below `oldest`) moves its base, not its counters. Letters that were to be delivered by
        a pipeline that is no longer active are dead again; what it was to deliver again is forgotten.
        """

    @abstractmethod
    def forget(self, pipeline: str) -> None:
        """Drop the account of a pipeline that is not active, with all that it has to deliver; dead letters stay.

        Raises KeyError for one that is active or was never registered.
        """

    @abstractmethod
    def commit(
        self, updates: Sequence[Update], replayed: Replayed | None = None, token: bytes | None = None
    ) -> None:
        """Apply the updates, and what has become of replayed dead letters, in one durable transaction (J4).

        With the `token` of the last commit it does nothing: one that seemed to fail may have been made.
        """

    @abstractmethod
    def deliver_again(self, pipeline: str, first: int, end: int, asked: str, others: int = 0) -> None:
        """Make a pipeline deliver events of the journal again: those from `first` to before `end`.

        `others` is how many of these are other tenants', and not its own.
        `asked` names the wish; one that is being fulfilled already is not entered twice. Raises KeyError for
        a pipeline that was never registered.
        """

    @abstractmethod
    def owed(self, pipeline: str, limit: int = 1_000) -> list[Receipt]:
        """Give receipts of events that the first destination is to get, too, by their first number."""

    @abstractmethod
    def pause(self, pipeline: str, *, paused: bool) -> None:
        """Keep whether the pipeline is to wait. Raises KeyError for one that was never registered."""

    @abstractmethod
    def replay(self, selection: Selection, replay: Replay, at: int) -> int:
        """Mark dead letters to be delivered again and give how many events they hold.

        Left out are those without an event and those whose pipeline is not active. `at` is Unix time in
        milliseconds.
        """

    @abstractmethod
    def purge(self, selection: Selection) -> int:
        """Delete dead letters and give how many events they held, which stay counted as dead-lettered."""

    @abstractmethod
    def to_replay(self, pipeline: str, after: int = 0, limit: int = 100) -> list[DeadLetter]:
        """Give dead letters that the pipeline is to deliver again, as `letters` does."""

    @abstractmethod
    def note(self, conditions: Mapping[str, str]) -> None:
        """Keep the JSON that status shows of pipelines' conditions."""

    @abstractmethod
    def accounts(self) -> list[Account]:
        """Give every pipeline, active or not, in one consistent reading."""

    @abstractmethod
    def dead_letters(self, selection: Selection = ALL, after: int = 0, limit: int = 100) -> list[DeadLetter]:
        """Give dead letters, and those that are being replayed, by ascending id, beginning above `after`.

        Fewer than `limit` when their events are large; none when there are none above `after`.
        """

    @abstractmethod
    def dead_letter_groups(self, selection: Selection = ALL) -> list[DeadLetterGroup]:
        """Count dead letters by pipeline and code."""

    @abstractmethod
    def dead_events(self, selection: Selection = ALL) -> int:
        """Count the events of the chosen dead letters in one pipeline at least, each once."""

    @abstractmethod
    def dead_letter_extents(self) -> dict[str, tuple[int, int]]:
        """Give, for each pipeline with dead letters, their number and the earliest last failure.

        The latter is Unix time in milliseconds.
        """

    @abstractmethod
    def dead_letter_of(self, pipeline: str, sequence: int) -> DeadLetter | None:
        """Give the dead letter that holds an event of a pipeline, if there is one."""

    @abstractmethod
    def receipt_of(self, pipeline: str, sequence: int) -> Receipt | None:
        """Give the newest receipt for an event of a pipeline, if there is one."""

    @abstractmethod
    def forget_receipts(self, before: int) -> None:
        """Drop receipts from before a time, Unix milliseconds; the rest of very many later."""

    @abstractmethod
    def incidents(self) -> list[str]:
        """Give the damage met and fixed so far, a sentence each, for status."""

    @abstractmethod
    def finished_by_tenant(self) -> dict[str, int]:
        """Give for each tenant the number below which its pipelines are finished: those active or with events to deliver.

        Tenants without such pipelines are left out; "" stands for pipelines that get everybody's events.
        """

    def finished(self) -> int | None:
        """Give the sequence number below which all these pipelines are finished; None if there is none."""
        return min(self.finished_by_tenant().values(), default=None)

    @abstractmethod
    def close(self) -> None:
        """Release the store."""
