"""The journal's contract: batches in, blocks out, and what every engine promises."""
# Tested in tests/journal/test_memory.py.

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

GONE: Final = "/"
"""No tenant's name has it."""


@dataclass(slots=True)
class AppendBatch:
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
    """How many of the events belong to each tenant; empty where nobody knows any more. A name that begins with
    `GONE` stands for a tenant whose events are no longer there, but empty."""
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
    async def append(self, batch: AppendBatch) -> Appended:
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
        """Give the damage met and fixed so far, a sentence each, for status."""

    @abstractmethod
    def evict(self, finished: int, now: int) -> int:
        """Drop blocks below sequence number `finished` that are older than `retention`; give how many.

        `now` is Unix time in milliseconds. Remembers `finished`, so that append may make room in need.
        """

    @abstractmethod
    def thin(self, finished: Mapping[str, int]) -> bool:
        """Drop, out of some blocks that must stay, the events of tenants who are done with them; tell whether there were any.

        `finished` says for each tenant, and with "" for all, below which sequence number its pipelines are finished;
        who is not in it awaits nothing. For when room is needed: retention is not looked at. Ends soon; call it
        again while it gives True.
        """

    @abstractmethod
    def held(self, finished: Mapping[str, int]) -> dict[str, int]:
        """Give about how many bytes of the journal each tenant's events take that its pipelines still await.

        `finished` is as for `thin`. Reads the header of every block: call it off the event loop.
        """

    @abstractmethod
    def size(self) -> int:
        """Give the bytes the journal takes now, free room inside its file excluded."""

    @abstractmethod
    def close(self) -> None:
        """Release the store. Events appended before stay durable."""
