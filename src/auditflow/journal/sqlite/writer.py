"""The journal in one SQLite file: its one writer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final

import apsw

from auditflow.errors import JournalDamaged, JournalUnavailable
from auditflow.journal import AppendBatch, Appended
from auditflow.journal.block_format import Ids, Row, cut, encode, encode_ids, pack_ids, split_ids, thinned
from auditflow.journal.group_commit import GroupCommit
from auditflow.journal.sqlite import eviction, thinning
from auditflow.journal.sqlite.dedup_window import Window
from auditflow.journal.sqlite.id_lookup import Lookup
from auditflow.journal.sqlite.mark import Mark
from auditflow.journal.sqlite.opening import SQL, open_journal
from auditflow.journal.sqlite.reader import SqliteReader
from auditflow.storage import recovery
from auditflow.storage.reading import inode
from auditflow.storage.sqlite import PAGE, connect, each, explained, number, run, transaction, writable

JOIN_ROWS: Final = 256
JOIN_IDS: Final = 4_096
"""So many small rows of ids, or rows of so many ids, become one: scans and the next start read few large rows."""


@dataclass(slots=True)
class _Waiting:
    batch: AppendBatch
    keys: Sequence[bytes]
    future: asyncio.Future[Appended]


class SqliteJournal(SqliteReader):
    """The journal, open for appending. Commits on the event loop: what waits together shares one fsync.

    `floor` is the highest sequence number known from elsewhere: the ledger's. Numbers go on from there even
    if the file is lost. `retention` and `dedup_window` are seconds, `max_size` is bytes. By `aging`
    ids leave the window; without it, by `clock`.
    """

    def __init__(  # noqa: PLR0913 - the settings of the configuration's section
        self,
        path: Path | str,
        *,
        max_size: int,
        retention: float,
        dedup_window: float,
        floor: int = 1,
        clock: Callable[[], float] = time.time,
        aging: Callable[[], float] | None = None,
    ) -> None:
        super().__init__(path)
        self._max_size = max_size
        self._retention = int(retention * 1000)
        self._window = Window(int(dedup_window * 1000))
        self._clock = clock
        self._aging = aging or clock
        self._waiting: list[_Waiting] = []
        self._small: list[Ids] = []
        self._finished = 1
        self._room = 0
        self._thinned_to = 0
        """The blocks that begin before this one have been thinned, as far as the others were finished then."""
        self._closed = False
        self._lock = Lock()  # evict may be called from a thread
        self._mark = Mark(self._path)
        self._mark.head = max(self._mark.head, floor)
        self._connection: apsw.Connection | None = open_journal(
            self._path, self._mark, self._now(), self._load
        )
        self._file = inode(self._path)
        self._head = number(self._connection, SQL.head)
        self._keep_mark(self._connection)

    @staticmethod
    def reader(path: Path | str) -> SqliteReader:
        """Open the journal for reading, beside a writer in another process."""
        return SqliteReader(path)

    async def append(self, batch: AppendBatch) -> Appended:
        """Store the batch and return when it is durable."""
        if not batch.events:
            return Appended()
        keys = split_ids(pack_ids(batch.ids))
        if not len(keys) == len(batch.events) == len(batch.tenants) == len(batch.times or keys):
            raise ValueError("a batch has one id, one tenant and, if any, one time per event")
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._commit)
        waiting = _Waiting(batch, keys, loop.create_future())
        self._waiting.append(waiting)
        return await waiting.future

    def find(self, event_id: str) -> Iterator[int]:
        """Give the sequence numbers of the events with this id, newest first: one for each tenant that used it."""
        (key,) = split_ids(pack_ids([event_id]))
        since = self._since()
        recent = self._window.recent(key)
        if recent is not None and (self.appended_at(recent) or 0) > since:
            yield recent  # and mostly that is all that is asked for
        with self._reading as connection:  # not the writer's: appends need not wait for a search
            found = Lookup(connection, self._window, since).find(key) if connection else []
        yield from (sequence for sequence in found if sequence != recent)

    def head(self) -> int:
        """Give the sequence number that the next event will get."""
        return self._head

    def evict(self, finished: int, now: int) -> int:
        """Drop blocks below sequence number `finished` that are older than `retention`; give how many."""
        self._finished = max(self._finished, finished)
        with self._writing() as connection:
            count = eviction.evict(connection, finished, now - self._retention)
            self._keep_mark(connection)
            eviction.forget_ids(connection, now - self._window.milliseconds)
        self._room = 0  # measured again when it is needed
        return count

    def thin(self, finished: Mapping[str, int]) -> bool:
        """Drop, out of some blocks that must stay, the events of tenants who are done with them; tell whether there were any.

        Reads, decodes and encodes beside appends; only the writing keeps them waiting.
        """
        rows: list[tuple[int, Row]] = []
        self._thinned_to = max(self._thinned_to, min(finished.values(), default=self._head))
        while not rows:
            found = self._headers(self._thinned_to)
            if not found:
                self._thinned_to = 0  # from the beginning again, next time
                return False
            chosen = thinning.chosen(found, finished)
            self._thinned_to = (chosen or found)[-1].end
            before = [row for each in chosen if (row := self._row(each.first))]
            rows = [(row.crc, smaller) for row in before if (smaller := thinned(row, finished))]
        with self._writing() as connection, transaction(connection):
            connection.executemany(SQL.rewrite, [row._asdict() | {"before": crc} for crc, row in rows])
        self._room = 0
        return True

    def close(self) -> None:
        """Release the file. Appends that still wait are refused."""
        self._closed = True
        self._commit()
        super().close()  # first, so that the writer is the last to close and clears the write-ahead log
        self._drop()
        self._mark.close()

    def _commit(self) -> None:
        """Store what waits in one transaction, and tell those who wait."""
        waiting = [
            one for one in self._waiting if not one.future.done()
        ]  # its caller may have been cancelled
        self._waiting = []
        try:
            answers = self._store(waiting) if waiting else []
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            for one in waiting:
                one.future.set_exception(error)
        else:
            for one, answer in zip(waiting, answers, strict=True):
                one.future.set_result(answer)

    def _store(self, waiting: list[_Waiting]) -> list[Appended]:
        at, since = self._now(), self._since()
        self._window.expire(since + self._window.milliseconds)
        with self._writing() as connection:
            group = GroupCommit(self._head, Lookup(connection, self._window, since), at)
            answers = [group.add(one.batch, one.keys) for one in waiting]
            if group.events:
                self._write(connection, group, at)
        return answers

    def _write(self, connection: apsw.Connection, group: GroupCommit, at: int) -> None:
        first = self._head
        rows, ids = [], []
        for part in cut(group.events):
            columns = group.events[part], group.tenants[part], group.times[part]
            rows.append(encode(first + part.start, *columns, at))
            ids.append(encode_ids(first + part.start, b"".join(group.keys[part]), at))
        need = sum(_takes(row) for row in rows)
        if self._room < need:
            self._room = eviction.make_room(connection, self._path, need, self._max_size, self._finished)
            self._keep_mark(connection)
        small, joined = self._join(ids, at)
        with transaction(connection):
            connection.executemany(SQL.append, rows)
            if joined:
                run(connection, SQL.drop_ids_from, joined[0].first)
            connection.executemany(SQL.append_ids, joined or ids)
        self._room -= need
        self._small = small
        self._head += len(group.events)
        self._window.add(group.keys, first, at)
        self._mark.write(self._head, self._mark.floor)

    def _join(self, ids: list[Ids], at: int) -> tuple[list[Ids], list[Ids]]:
        """Give the small rows of ids that will stand at the end, and the row that replaces them when they are many.

        Rows far apart in time stay apart, because a row leaves the window as a whole.
        """
        if len(ids) > 1 or len(ids[0].ids) >= 16 * JOIN_IDS // 4:  # large enough to stay as it is
            return [], []
        near = self._small and at - self._small[0].appended_at <= self._window.milliseconds // 64
        small = [*self._small, ids[0]] if near else ids
        if len(small) < JOIN_ROWS and sum(len(row.ids) for row in small) < 16 * JOIN_IDS:
            return small, []
        return [], [encode_ids(small[0].first, b"".join(row.ids for row in small), at)]

    @contextmanager
    def _writing(self) -> Iterator[apsw.Connection]:
        """Give the connection, in good order, and keep what goes wrong with it from the next append."""
        try:
            with self._lock, explained(self._path):
                yield self._sound_connection()
        except JournalDamaged as error:
            recovery.note_damage(self._path, str(error.facts["reason"]))
            raise
        except JournalUnavailable as error:
            if not isinstance(error.__cause__, (apsw.FullError, apsw.BusyError)):
                self._drop()  # after a failed fsync nothing that this descriptor says can be trusted
            raise

    def _sound_connection(self) -> apsw.Connection:
        if self._closed:
            raise JournalUnavailable(path=self._path, reason="it has been closed")
        if self._connection is None:
            self._connection = self._reopen()
        if inode(self._path) != self._file:
            raise apsw.CorruptError("the file has been removed or replaced while in use")
        return self._connection

    def _reopen(self) -> apsw.Connection:
        """Open the file again after an error, and learn whether what failed is there after all."""
        connection = connect(self._path)
        try:
            writable(connection, self._path)
            self._load(connection, self._head)
            head = _at_least(self._head, number(connection, SQL.head))
        except BaseException:
            connection.close(force=True)
            raise
        self._head, self._small, self._room = head, [], 0
        return connection

    def _keep_mark(self, connection: apsw.Connection) -> None:
        self._mark.write(self._head, number(connection, SQL.floor))

    def _drop(self) -> None:
        if self._connection is not None:
            with suppress(apsw.Error):
                self._connection.close(force=True)
        self._connection = None

    def _load(self, connection: apsw.Connection, start: int = 0) -> None:
        """Remember the ids inside the window, from sequence number `start` on."""
        if not start:
            self._window = Window(self._window.milliseconds)
        since = self._since()
        for values in each(connection, SQL.ids_ascending, start=start):
            row = Ids(*values)
            if row.appended_at > since and row.sound():
                self._window.add(row.keys(), row.first, row.appended_at)

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _since(self) -> int:
        """Give when the deduplication window begins."""
        return int(self._aging() * 1000) - self._window.milliseconds


def _at_least(known: int, head: int) -> int:
    if head < known:
        raise apsw.CorruptError("the newest blocks are gone")
    return head


def _takes(row: Row) -> int:
    """Estimate from above what a row adds: its pages, its ids' and the tree's, each also in the log."""
    pages = (len(row.payload) + len(row.tenants)) // (PAGE - 4) + 16 * row.length // (PAGE - 4) + 6
    return 2 * pages * PAGE
