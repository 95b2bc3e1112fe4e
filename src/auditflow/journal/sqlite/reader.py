"""Reads the journal's SQLite file, beside its writer in the same or another process."""
# Tested in tests/journal/sqlite/test_writer.py.

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NoReturn

import apsw

from auditflow.errors import JournalUnavailable
from auditflow.journal import AppendBatch, Appended, Block, Journal
from auditflow.journal.block_format import Row, decode, header
from auditflow.journal.sqlite import eviction, thinning
from auditflow.journal.sqlite.opening import SQL
from auditflow.storage.incidents import told
from auditflow.storage.reading import Reading
from auditflow.storage.sqlite import DAMAGE, PAGE, each, number, run, sidecar

LOOK_SECONDS: Final = 0.5
"""The head is read at least this often, whatever the write-ahead log looks like."""
UNSURE_NANOSECONDS: Final = 50_000_000
"""Two commits within a tick of the file system's clock look like one: what is younger is read again."""


class SqliteReader(Journal):
    """The reading half of the journal. Sees each commit of the writer at once; safe to call from threads.

    A file that is not there yet reads as an empty journal; one that recovery has replaced is opened again.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._reading = Reading(self._path)
        self._log = str(sidecar(self._path, "-wal"))
        self._head = 1
        self._seen: tuple[int, ...] = ()
        """What the write-ahead log looked like when `_head` was read; empty when it may change unseen."""
        self._looked = 0.0

    async def append(self, batch: AppendBatch) -> Appended:
        """Refuse: only the ingest process appends."""
        self._refuse(batch)

    def evict(self, finished: int, now: int) -> int:
        """Refuse: only the ingest process evicts."""
        self._refuse(finished, now)

    def head(self) -> int:
        """Give the sequence number that the next event will get.

        It is asked for many times a second, and a look at the write-ahead log costs a fiftieth of a query.
        """
        log = _look(self._log)
        now = time.monotonic()
        if not log or log != self._seen or now - self._looked > LOOK_SECONDS:
            with self._reading as connection:
                self._head = number(connection, SQL.head) if connection else 1
            self._seen, self._looked = log, now
        return self._head

    def oldest(self) -> int:
        """Give the first retained sequence number, or `head()` when the journal is empty."""
        with self._reading as connection:
            return number(connection, SQL.oldest) if connection else 1

    def read(self, start: int, max_bytes: int, tenant: str = "") -> list[Block]:
        """Read blocks in order, beginning with the one that holds `start` or, failing that, the next one."""
        following: int | None = start
        blocks: list[Block] = []
        while following is not None and not blocks:
            with self._reading as connection:
                rows = _fetch(connection, following, max_bytes, tenant) if connection else []
            blocks = [block for block in _decoded(rows, start, tenant) if block.end > start]
            following = rows[-1][1] if rows else None
        return blocks

    def headers(self, start: int, limit: int) -> list[Block]:
        """Give blocks as `read` does, at most `limit` of them and without their events."""
        with self._reading as connection:
            rows = run(connection, SQL.headers, start, limit) if connection else []
        return [block for block in (header(*row) for row in rows) if block is not None and block.end > start]

    def find(self, event_id: str) -> Iterator[int]:
        """Refuse: the writer alone knows where to look."""
        self._refuse(event_id)

    def thin(self, finished: Mapping[str, int]) -> bool:
        """Refuse: only the ingest process rewrites."""
        self._refuse(finished)

    def held(self, finished: Mapping[str, int]) -> dict[str, int]:
        """Give about how many bytes of the journal each tenant's events take that its pipelines still await."""
        held: Counter[str] = Counter()
        start = min(finished.values(), default=self.head())
        while found := self._headers(start):
            held += thinning.held(found, finished)
            start = found[-1].end
        return dict(held)

    def _headers(self, start: int) -> list[thinning.Header]:
        with self._reading as connection:
            return thinning.headers(connection, start) if connection else []

    def _row(self, first: int) -> Row | None:
        """Read the block that begins at a sequence number."""
        with self._reading as connection:
            rows = run(connection, SQL.holding, first) if connection else []
        return next((row for row in (Row(*values) for values in rows) if row.first == first), None)

    def size(self) -> int:
        """Give the bytes the journal takes now, free room inside its file excluded."""
        with self._reading as connection:
            return eviction.size(connection, self._path) if connection else 0

    def appended_at(self, sequence: int) -> int | None:
        """Give when the event was accepted (Unix time, milliseconds); None where it is not retained."""
        with self._reading as connection:
            rows = run(connection, SQL.appended_at, sequence) if connection else []
        return rows[0][0] if rows and rows[0][1] > sequence else None

    def between(self, since: int, until: int) -> range:
        """Give the retained sequence numbers of the events accepted from `since` to before `until`."""
        with self._reading as connection:
            rows = run(connection, SQL.between, since, until) if connection else []
        return next((range(first, end) for first, end in rows if first is not None), range(0))

    def incidents(self) -> list[str]:
        """Give the damage met and fixed so far, oldest first."""
        with self._reading as connection:
            return told(run(connection, SQL.incidents)) if connection else []

    def close(self) -> None:
        """Release the file."""
        self._reading.close()

    def _refuse(self, *_: object) -> NoReturn:
        raise JournalUnavailable(path=self._path, reason="this process has it open for reading only")


def _fetch(
    connection: apsw.Connection, start: int, max_bytes: int, tenant: str
) -> list[tuple[Row, int | None]]:
    """Give rows, each with the number where the next one begins, until they hold `max_bytes` of events."""
    rows: list[tuple[Row, int | None]] = []
    total = 0
    try:
        with closing(each(connection, SQL.read, start=start)) as found:
            for values in found:
                row, following = _split(values)
                rows.append((row, following))
                total += _weight(row, tenant)
                if total >= max_bytes:
                    break
    except DAMAGE:
        if not rows:  # the payload cannot be reached; what is known without it is enough to count it
            rows = [_split(values) for values in run(connection, SQL.read_headers, start)]
    return rows


def _weight(row: Row, tenant: str) -> int:
    """Give the bytes that a row takes once it is decoded, or as it is where it need not be."""
    try:
        return row.size if row.concerns(tenant) else len(row.payload)
    except TypeError:
        return PAGE


def _decoded(rows: Iterable[tuple[Row, int | None]], start: int, tenant: str) -> Iterator[Block]:
    """Give the blocks; what does not even say where it belongs stands from where its predecessor ends."""
    end = start
    for row, following in rows:
        block = decode(row, following, tenant)
        if block is None and following is not None and following > end:
            block = Block(end, following - end, 0, {}, (), "the block's header cannot be read")
        if block is not None:
            end = block.end
            yield block


def _split(values: Any) -> tuple[Row, int | None]:
    *columns, following = values
    return Row(*columns), following


def _look(log: str) -> tuple[int, ...]:
    """Give what changes with every commit; nothing where a commit might not show."""
    try:
        found = os.stat(log)  # noqa: PTH116 - a path object costs as much as the call
    except OSError:
        return ()
    age = time.time_ns() - found.st_mtime_ns
    return (found.st_ino, found.st_size, found.st_mtime_ns) if age > UNSURE_NANOSECONDS else ()
