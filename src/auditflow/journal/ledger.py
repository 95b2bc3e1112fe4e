"""The ledger in one SQLite file: written by the delivery process, read by any."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any, Final
from zlib import crc32

import apsw

from auditflow.errors import JournalDamaged, JournalUnavailable
from auditflow.journal import Account, Ledger, Letter, Progress, Update, recovery
from auditflow.journal.accounting import applied, registered
from auditflow.journal.database import connect, explained, run, sidecar, transaction, usable
from auditflow.journal.reader import Reading, inode
from auditflow.journal.statements import Statements

SQL: Final = Statements("ledger")


class LedgerReader(Ledger):
    """The reading half of the ledger. A file that is not there yet reads as an empty ledger."""

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._reading = Reading(self._path)

    def register(self, pipelines: Sequence[str], head: int, oldest: int) -> None:
        """Refuse: only the delivery process writes."""
        self._refuse(pipelines, head, oldest)

    def commit(self, updates: Sequence[Update]) -> None:
        """Refuse: only the delivery process writes."""
        self._refuse(updates)

    def note(self, pipeline: str, condition: str) -> None:
        """Refuse: only the delivery process writes."""
        self._refuse(pipeline, condition)

    def accounts(self) -> list[Account]:
        """Give every pipeline, active or not, in one consistent reading."""
        return [_account(row) for row in self._rows(SQL.accounts)]

    def letters(self, pipeline: str | None = None, after: int = 0, limit: int = 100) -> list[Letter]:
        """Give dead letters by ascending id, beginning above `after`."""
        if pipeline is None:
            return [Letter(*row) for row in self._rows(SQL.letters, after, limit)]
        return [Letter(*row) for row in self._rows(SQL.letters_of, pipeline, after, limit)]

    def finished(self) -> int | None:
        """Give the sequence number below which every active pipeline is finished; None if none is active."""
        for (low,) in self._rows(SQL.finished):
            return low if isinstance(low, int) else None
        return None

    def incidents(self) -> list[str]:
        """Give the damage met and mended so far, oldest first."""
        return recovery.told(self._rows(SQL.incidents))

    def close(self) -> None:
        """Release the file."""
        self._reading.close()

    def _rows(self, sql: str, *values: apsw.SQLiteValue) -> list[Any]:
        with self._reading as connection:
            return run(connection, sql, *values) if connection else []

    def _refuse(self, *_: object) -> None:
        raise JournalUnavailable(path=self._path, reason="this process has it open for reading only")


class SqliteLedger(LedgerReader):
    """The ledger, open for writing; safe to call from threads. Every change is one durable transaction.

    A damaged file is set aside and a new one begun: its pipelines start at the oldest event the journal
    holds, which repeats deliveries and never skips one.
    """

    def __init__(self, path: Path | str, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(path)
        self._lock = Lock()
        self._clock = clock
        self._closed = False
        self._connection: apsw.Connection | None = self._open()
        self._file = inode(self._path)

    @staticmethod
    def reader(path: Path | str) -> LedgerReader:
        """Open the ledger for reading, beside a writer in another process."""
        return LedgerReader(path)

    def register(self, pipelines: Sequence[str], head: int, oldest: int) -> None:
        """Make exactly these pipelines active."""
        with self._writing() as connection:
            accounts = [_account(row) for row in run(connection, SQL.accounts)]
            for account in registered(accounts, pipelines, head, oldest):
                _put(connection, account)

    def commit(self, updates: Sequence[Update]) -> None:
        """Apply the updates in one durable transaction (J4)."""
        with self._writing() as connection:
            for update in updates:
                _put(connection, applied(_get(connection, update.pipeline), update))
                letters = [_letter_values(letter) for letter in update.letters]
                connection.executemany(SQL.add_letter, letters)

    def note(self, pipeline: str, condition: str) -> None:
        """Keep the JSON that status shows of a pipeline's condition."""
        with self._writing() as connection:
            account = _get(connection, pipeline)
            account.condition = condition
            _put(connection, account)

    def close(self) -> None:
        """Release the file."""
        super().close()  # first, so that the writer is the last to close and clears the write-ahead log
        with self._lock:
            self._closed = True
            self._drop()

    def _open(self) -> apsw.Connection:
        with usable(self._path):
            recovery.finish_replacing(self._path)
            if not self._path.exists() and not sidecar(self._path, "-wal").exists():
                recovery.create(self._path, SQL, lambda _: None)
            try:
                return recovery.inspect(self._path, SQL, _check)
            except JournalDamaged as damage:
                what = (
                    f"{self._path.name} was damaged ({damage.facts['reason']}); what is left of it is set aside beside it. Deliveries "
                    "start again at the oldest event that the journal holds; counters and dead letters start anew"
                )
                at = int(self._clock() * 1000)
                recovery.create(self._path, SQL, lambda new: _begin(new, at, what))
                connection = recovery.inspect(self._path, SQL, _check)
                recovery.warn(connection, SQL)
                return connection

    @contextmanager
    def _writing(self) -> Iterator[apsw.Connection]:
        with self._lock:
            try:
                with explained(self._path):
                    connection = self._sound_connection()
                    with transaction(connection):
                        yield connection
            except JournalDamaged as error:
                if inode(self._path) == self._file:  # what has replaced it is sound
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
            self._connection = connect(self._path)
        if inode(self._path) != self._file:
            raise apsw.CorruptError("the file has been replaced while in use")
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            with suppress(apsw.Error):
                self._connection.close(force=True)
        self._connection = None


def _begin(connection: apsw.Connection, at: int, what: str) -> None:
    run(connection, SQL.add_incident, at, what)


def _check(connection: apsw.Connection) -> None:
    verdict = run(connection, SQL.check)
    if verdict != [("ok",)]:
        raise apsw.CorruptError(str(verdict[0][0]))
    for row in run(connection, SQL.accounts):
        _account(row)


def _get(connection: apsw.Connection, pipeline: str) -> Account:
    rows = run(connection, SQL.account, pipeline)
    if not rows:
        raise KeyError(pipeline)
    return _account(rows[0])


def _put(connection: apsw.Connection, account: Account) -> None:
    done = account.progress.done
    numbers = (
        int(account.active), account.base, account.progress.low, done.to_bytes((done.bit_length() + 7) // 8, "little"),
        account.delivered, account.filtered, account.dead_lettered, account.attempts, account.duplicates,
    )  # fmt: skip
    run(
        connection,
        SQL.put_account,
        account.pipeline,
        *numbers,
        _crc(account.pipeline, numbers),
        account.condition,
    )


def _account(row: Any) -> Account:
    name, *numbers, crc, condition = row
    if crc != _crc(name, tuple(numbers)):
        raise apsw.CorruptError(f"the account of pipeline {name!r} does not match its checksum")
    active, base, low, done, delivered, filtered, dead_lettered, attempts, duplicates = numbers
    return Account(
        pipeline=name,
        active=bool(active),
        base=base,
        progress=Progress(low, int.from_bytes(done, "little")),
        delivered=delivered,
        filtered=filtered,
        dead_lettered=dead_lettered,
        attempts=attempts,
        duplicates=duplicates,
        condition=condition,
    )


def _crc(name: str, numbers: tuple[object, ...]) -> int:
    return crc32(repr((name, numbers)).encode())


def _letter_values(letter: Letter) -> tuple[apsw.SQLiteValue, ...]:
    return (
        letter.pipeline, letter.sequence, letter.code, letter.reason, letter.event, letter.count, letter.attempts,
        letter.first_failed, letter.last_failed,
    )  # fmt: skip
