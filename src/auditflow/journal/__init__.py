"""The journal: what has been accepted, in order, and what became of it.

Invariants
----------
J1  `Journal.append` returns only when the block is durable: an acknowledged event survives kill -9 and
    power loss. Publishes that wait at the same time share one block and one fsync.
J2  Every event has a sequence number; numbers start at 1 and have no gaps.
J3  An event is unique by (tenant, event id) inside the deduplication window. A repeat is reported with the
    first one's sequence number; the same id with other content is a conflict, and is not stored.
J4  A pipeline's progress, its counters and its dead letters change in one transaction of the `Ledger`.
J5  Opening succeeds after any crash or damage: a torn tail is recovered, what cannot be read is set aside,
    reported and counted, and sequence numbers are never used twice.
J6  At `max-size` append raises JournalFull. What an active pipeline has not finished is never evicted;
    what all have finished stays for `retention`, or until its room is needed.
J7  Blocks are read whole and carry tenants and count, so that a reader can skip them without decoding. An event
    that nobody can tell the tenant of any more, because it is lost, is accounted for by every pipeline.
J8  Every implementation passes the contract suites `auditflow.testing.journal_contract` and `ledger_contract`.

Two stores, because they have two writers: the ingest process appends to the journal, the delivery process
writes the ledger, and neither ever waits for the other's lock (docs/decisions/0002-two-files.md).

On disk
-------
Two SQLite files in WAL mode with synchronous=FULL and pages of 4096 bytes; their tables, and every statement
on them, are in `sql/journal.sql` and `sql/ledger.sql`.

``journal.db``        `block`: one row per block, at most 10,000 events or 4 MiB; payload = the events' times, their
                      tenants when there are several, and the events joined by newlines, deflated; crc32 over
                      header, tenants and payload. A row without payload stands for lost events. `ids`: 16 bytes per
                      event, joined into large rows; they outlive their block.
``journal.db-mark``   The next sequence number and the first not evicted, unflushed: what was lost when the file is.
``ledger.db``         `pipeline`: one row each, progress as `low` and a little-endian bit map, guarded by crc32.
                      `letter`: dead letters, also while they are delivered anew. `receipt`: what one call of a
                      sink has brought where, one row however many events. `lane`: what is delivered again.
``*-damaged``         A note of damage met in use; the next start recovers.
``*.damaged-<time>``  What recovery set aside (Unix time); kept until somebody deletes it.

Where to look
-------------
`sqlite` appends, `reader` reads, `census` counts by tenant; `group`, `dedup` and `lookup` find repeats; `eviction` keeps the size;
`opening`, `recovery` and `salvage` deal with damage; `ledger`, `accounting` and `letters` and `receipts` keep
what became of events; `commands` carries what operators ask for to the delivery process; `memory` is both stores for tests.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from auditflow.journal.letters import ALL, LOST, Letter, LetterGroup, Replay, Replayed, Selection
from auditflow.journal.progress import Progress
from auditflow.journal.receipts import Handed, Receipt

__all__ = [
    "ALL",
    "LOST",
    "Account",
    "Appended",
    "Batch",
    "Block",
    "Handed",
    "Journal",
    "Lane",
    "Ledger",
    "Letter",
    "LetterGroup",
    "Progress",
    "Receipt",
    "Replay",
    "Replayed",
    "Selection",
    "Update",
]

NOBODY: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(slots=True)
class Batch:
    """Events to append together, as parallel lists: one event at each index."""

    events: list[bytes]
    """Stamped events: compact JSON on one line, UTF-8."""
    ids: list[str]
    """Event ids: canonical lower-case UUIDs."""
    tenants: list[str]
    supplied: Sequence[int] = ()
    """Indexes of the events whose id the client chose: only these can be repeats."""
    times: Sequence[int] = ()
    """When each event happened, Unix time in milliseconds; left out, that is when it is appended."""


@dataclass(slots=True)
class Appended:
    """What became of a batch, by index. What is in neither mapping nor list was stored, in order."""

    duplicates: dict[int, int] = field(default_factory=dict)
    """Index of a repeat → sequence number of the first one."""
    conflicts: list[int] = field(default_factory=list)
    """Indexes of events whose id is known with other content."""


@dataclass(slots=True)
class Block:
    """Events appended together; the unit of reading. `events[i]` has sequence number `first + i`."""

    first: int
    count: int
    appended_at: int
    """Unix time, milliseconds."""
    tenants: Mapping[str, int]
    """How many of the events belong to each tenant; empty where nobody knows any more."""
    events: Sequence[bytes]
    damage: str = ""
    """Why the events cannot be read; empty for a sound block, and then `events` has `count` items."""
    times: Sequence[int] = ()
    """When each event happened, Unix time in milliseconds."""
    owners: Sequence[int] = ()
    """For each event its tenant's place in `tenants`; empty when there is one tenant."""

    @property
    def end(self) -> int:
        """Sequence number after the block's last event."""
        return self.first + self.count


class Journal(ABC):
    """Ordered, durable log of blocks. One process appends; any number of processes read."""

    @abstractmethod
    async def append(self, batch: Batch) -> Appended:
        """Store the batch and return when it is durable.

        Raises JournalFull at `max-size`, JournalUnavailable when the disk refuses. Then nothing was stored.
        """

    @abstractmethod
    def head(self) -> int:
        """Give the sequence number that the next event will get."""

    @abstractmethod
    def oldest(self) -> int:
        """Give the first retained sequence number, or `head()` when the journal is empty."""

    @abstractmethod
    def read(self, start: int, max_bytes: int, tenant: str = "") -> list[Block]:
        """Read blocks in order, beginning with the one that holds `start` or, failing that, the next one.

        Stops after the block that brings the total to `max_bytes`; empty at the head. A hole between two
        blocks, or before the first, means that those events are lost. Decodes: call it off the event loop
        when blocks may be large. With a `tenant`, blocks that hold none of its events come without any.
        """

    @abstractmethod
    def headers(self, start: int, limit: int) -> list[Block]:
        """Give blocks as `read` does, at most `limit` of them and without their events: nothing is decoded.

        Nothing is checked either: of a damaged block it is not known whether `tenants` is right.
        """

    @abstractmethod
    def find(self, event_id: str) -> Iterator[int]:
        """Give the sequence numbers of the events with this id, newest first: one for each tenant that used it.

        `event_id` is a canonical lower-case UUID. Looks as far back as the deduplication window reaches.
        """

    @abstractmethod
    def appended_at(self, sequence: int) -> int | None:
        """Give when the event was accepted (Unix time, milliseconds); None where it is not retained."""

    @abstractmethod
    def between(self, since: int, until: int) -> range:
        """Give the retained sequence numbers of the events accepted from `since` to before `until`.

        Both are Unix time in milliseconds. Blocks that a jump of the clock has put in between come along.
        """

    @abstractmethod
    def incidents(self) -> list[str]:
        """Give the damage met and mended so far, a sentence each, for status."""

    @abstractmethod
    def evict(self, finished: int, now: int) -> int:
        """Drop blocks below sequence number `finished` that are older than `retention`; give how many.

        `now` is Unix time in milliseconds. Remembers `finished`, so that append may make room in need.
        """

    @abstractmethod
    def size(self) -> int:
        """Give the bytes the journal takes now, free room inside its file excluded."""

    @abstractmethod
    def close(self) -> None:
        """Release the store. Events appended before stay durable."""


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
    letters: list[Letter] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    paid: list[int] = field(default_factory=list)
    """Ids of receipts whose events the first destination has now, too."""
    lane: int = 0
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
            self.duplicates, self.letters, self.receipts, self.paid, self.lane,
        )  # fmt: skip


@dataclass(slots=True)
class Lane:
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
    also need to know how many events of other tenants there are from `progress.seen` to `head`: see `census`.
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
    """Events out of dead letters that are to be delivered anew."""
    again: int = 0
    """Events of lanes: it is accountable for them once more."""
    attempts: int = 0
    duplicates: int = 0
    paused: bool = False
    """Whether somebody has told it to wait."""
    condition: str = "{}"
    """JSON that the delivery process keeps for status: state, last error, since when."""
    lanes: list[Lane] = field(default_factory=list)
    """What it delivers again, oldest first."""
    owed: int = 0
    """Events delivered by the fallback that the first destination is to get, too."""
    tenant: str = ""
    """Whose events it gets; empty for everybody's."""
    to_replay: bool = False
    """Whether there are dead letters that it is to deliver anew."""

    def accepted(self, head: int, others: int = 0) -> int:
        """Count the events it is accountable for, when the journal's head is `head`."""
        return head - self.base - self.progress.others - others + self.again

    def pending(self, head: int, others: int = 0) -> int:
        """Count those of them that have not ended."""
        waiting = self.replaying + sum(lane.pending for lane in self.lanes)
        return self.progress.pending(head, others) + waiting

    def oldest_open(self) -> int:
        """Give the first sequence number that has not ended, dead letters aside."""
        return min([self.progress.low, *(lane.progress.low for lane in self.lanes)])


class Ledger(ABC):
    """What became of every event, per pipeline. One process writes; any number of processes read."""

    @abstractmethod
    def register(
        self, pipelines: Sequence[str], head: int, oldest: int, owners: Mapping[str, str] = NOBODY
    ) -> None:
        """Make exactly these pipelines active; `owners` says whose events those get that do not get everybody's.

        A new one starts at `head`; in a ledger that knows no pipeline yet, at `oldest`, so that a lost
        ledger repeats work and never skips it. A known one goes on where it stopped; what was evicted while
        it was inactive (below `oldest`) moves its base, not its counters. Letters that were to be delivered by
        a pipeline that is no longer active are dead again; what it was to deliver again is forgotten.
        """

    @abstractmethod
    def commit(
        self, updates: Sequence[Update], replayed: Replayed | None = None, token: bytes | None = None
    ) -> None:
        """Apply the updates, and what has become of replayed letters, in one durable transaction (J4).

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
        """Mark dead letters to be delivered anew and give how many events they hold.

        Left out are those without an event and those whose pipeline is not active. `at` is Unix time in
        milliseconds.
        """

    @abstractmethod
    def purge(self, selection: Selection) -> int:
        """Delete dead letters and give how many events they held, which stay counted as dead-lettered."""

    @abstractmethod
    def to_replay(self, pipeline: str, after: int = 0, limit: int = 100) -> list[Letter]:
        """Give letters that the pipeline is to deliver anew, as `letters` does."""

    @abstractmethod
    def note(self, conditions: Mapping[str, str]) -> None:
        """Keep the JSON that status shows of pipelines' conditions."""

    @abstractmethod
    def accounts(self) -> list[Account]:
        """Give every pipeline, active or not, in one consistent reading."""

    @abstractmethod
    def letters(self, selection: Selection = ALL, after: int = 0, limit: int = 100) -> list[Letter]:
        """Give dead letters, and those that are being replayed, by ascending id, beginning above `after`.

        Fewer than `limit` when their events are large; none when there are none above `after`.
        """

    @abstractmethod
    def letter_groups(self, selection: Selection = ALL) -> list[LetterGroup]:
        """Count letters by pipeline and code."""

    @abstractmethod
    def dead_events(self, selection: Selection = ALL) -> int:
        """Count the events of the chosen letters that are dead in one pipeline at least, each once."""

    @abstractmethod
    def letter_extents(self) -> dict[str, tuple[int, int]]:
        """Give, for each pipeline with letters, their number and the earliest last failure.

        The latter is Unix time in milliseconds.
        """

    @abstractmethod
    def letter_of(self, pipeline: str, sequence: int) -> Letter | None:
        """Give the dead letter that holds an event of a pipeline, if there is one."""

    @abstractmethod
    def receipt_of(self, pipeline: str, sequence: int) -> Receipt | None:
        """Give the newest receipt for an event of a pipeline, if there is one."""

    @abstractmethod
    def forget_receipts(self, before: int) -> None:
        """Drop receipts from before a time, Unix milliseconds; the rest of very many later."""

    @abstractmethod
    def incidents(self) -> list[str]:
        """Give the damage met and mended so far, a sentence each, for status."""

    @abstractmethod
    def finished(self) -> int | None:
        """Give the sequence number below which every active pipeline is finished; None if none is active."""

    @abstractmethod
    def close(self) -> None:
        """Release the store."""
