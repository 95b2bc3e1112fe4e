"""The ledger in one SQLite file: written by the delivery process, read by any."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import NoReturn

import apsw

from auditflow.errors import JournalDamaged, JournalUnavailable
from auditflow.ledger import (
    ALL,
    NOBODY,
    Account,
    DeadLetter,
    DeadLetterGroup,
    Ledger,
    Receipt,
    Replay,
    Replayed,
    Selection,
    Update,
)
from auditflow.ledger.accounting import applied, registered
from auditflow.ledger.sqlite import account_rows, checksums, replay_rows, salvage
from auditflow.ledger.sqlite import dead_letter_rows as letter_rows
from auditflow.ledger.sqlite.account_rows import SQL
from auditflow.ledger.sqlite.checksums import guarded
from auditflow.storage import incidents, recovery
from auditflow.storage.reading import Reading, inode
from auditflow.storage.sqlite import connect, each, explained, run, sidecar, transaction, usable


class LedgerReader(Ledger):
    """The reading half of the ledger. A file that is not there yet reads as an empty ledger."""

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._reading = Reading(self._path)

    def register(
        self,
        pipelines: Sequence[str],
        head: int,
        oldest: int,
        owners: Mapping[str, str] = NOBODY,
        settled: Collection[str] = (),
    ) -> None:
        """Refuse: only the delivery process writes."""
        self._refuse(pipelines, head, oldest, owners, settled)

    def forget(self, pipeline: str) -> None:
        """Refuse: only the delivery process writes."""
        self._refuse(pipeline)

    def commit(
        self, updates: Sequence[Update], replayed: Replayed | None = None, token: bytes | None = None
    ) -> None:
        """Refuse: only the delivery process writes."""
        self._refuse(updates, replayed, token)

    def deliver_again(self, pipeline: str, first: int, end: int, asked: str, others: int = 0) -> None:
        """Refuse: only the delivery process writes."""
        self._refuse(pipeline, first, end, asked, others)

    def pause(self, pipeline: str, *, paused: bool) -> None:
        """Refuse: only the delivery process writes."""
        self._refuse(pipeline, paused)

    def replay(self, selection: Selection, replay: Replay, at: int) -> int:
        """Refuse: only the delivery process writes."""
        self._refuse(selection, replay, at)

    def purge(self, selection: Selection) -> int:
        """Refuse: only the delivery process writes."""
        self._refuse(selection)

    def forget_receipts(self, before: int) -> None:
        """Refuse: only the delivery process writes."""
        self._refuse(before)

    def note(self, conditions: Mapping[str, str]) -> None:
        """Refuse: only the delivery process writes."""
        self._refuse(conditions)

    def accounts(self) -> list[Account]:
        """Give every pipeline, active or not, in one consistent reading."""
        with self._read() as connection:
            return account_rows.accounts(connection) if connection else []

    def dead_letters(self, selection: Selection = ALL, after: int = 0, limit: int = 100) -> list[DeadLetter]:
        """Give dead letters, and those that are being replayed, by ascending id, beginning above `after`."""
        with self._read() as connection:
            return letter_rows.find(connection, selection, after, limit) if connection else []

    def dead_letter_groups(self, selection: Selection = ALL) -> list[DeadLetterGroup]:
        """Count dead letters by pipeline and code."""
        with self._read() as connection:
            return letter_rows.groups(connection, selection) if connection else []

    def dead_events(self, selection: Selection = ALL) -> int:
        """Count the events of the chosen dead letters in one pipeline at least, each once."""
        with self._read() as connection:
            return letter_rows.dead_events(connection, selection) if connection else 0

    def dead_letter_extents(self) -> dict[str, tuple[int, int]]:
        """Give, for each pipeline with dead letters, their number and the earliest last failure."""
        with self._read() as connection:
            rows = run(connection, SQL.dead_letter_extents) if connection else []
        return {pipeline: (letters, earliest) for pipeline, letters, earliest in rows}

    def to_replay(self, pipeline: str, after: int = 0, limit: int = 100) -> list[DeadLetter]:
        """Give dead letters that the pipeline is to deliver again by ascending id, beginning above `after`."""
        with self._read() as connection:
            return letter_rows.to_replay(connection, pipeline, after, limit) if connection else []

    def dead_letter_of(self, pipeline: str, sequence: int) -> DeadLetter | None:
        """Give the dead letter that holds an event of a pipeline, if there is one."""
        with self._read() as connection:
            return letter_rows.of(connection, pipeline, sequence) if connection else None

    def receipt_of(self, pipeline: str, sequence: int) -> Receipt | None:
        """Give the newest receipt for an event of a pipeline, if there is one."""
        with self._read() as connection:
            found = each(connection, SQL.receipts, pipeline=pipeline, sequence=sequence) if connection else ()
            return next(
                (one for one in (Receipt(*guarded(row, "receipt")) for row in found) if one.holds(sequence)),
                None,
            )

    def owed(self, pipeline: str, limit: int = 1_000) -> list[Receipt]:
        """Give receipts of events that the first destination is to get, too, by their first number."""
        with self._read() as connection:
            rows = run(connection, SQL.owed, pipeline, limit) if connection else []
            return [Receipt(*guarded(row, "receipt")) for row in rows]

    def finished_by_tenant(self) -> dict[str, int]:
        """Give for each tenant the number below which its pipelines are finished: those active or with events to deliver."""
        with self._read() as connection:
            rows = run(connection, SQL.finished) if connection else []
        return {tenant: low for tenant, low in rows if isinstance(low, int)}

    def incidents(self) -> list[str]:
        """Give the damage met and fixed so far, oldest first."""
        with self._read() as connection:
            return incidents.told(run(connection, SQL.incidents)) if connection else []

    def close(self) -> None:
        """Release the file."""
        self._reading.close()

    def _read(self) -> AbstractContextManager[apsw.Connection | None]:
        return self._reading

    def _refuse(self, *_: object) -> NoReturn:
        raise JournalUnavailable(path=self._path, reason="this process has it open for reading only")


class SqliteLedger(LedgerReader):
    """The ledger, open for writing; safe to call from threads. Every change is one durable transaction.

    A damaged file is set aside and a new one begun with what can be read of it. Where a position is lost, all
    pipelines start at the oldest event the journal holds, which repeats deliveries and never skips one.
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

    def register(
        self,
        pipelines: Sequence[str],
        head: int,
        oldest: int,
        owners: Mapping[str, str] = NOBODY,
        settled: Collection[str] = (),
    ) -> None:
        """Make exactly these pipelines active; one that leaves keeps what it has to deliver."""
        active = {name: owners.get(name, "") for name in pipelines}
        with self._writing() as connection:
            before = account_rows.accounts(connection)
            tenants = {account.pipeline: account.tenant for account in before}
            for account in registered(before, active, head, oldest, settled):
                same = bool(tenants.get(account.pipeline, account.tenant)) == bool(account.tenant)
                kept = account if account.active and same else replay_rows.forget(connection, account)
                account_rows.put(connection, kept)
            letter_rows.release(connection)

    def forget(self, pipeline: str) -> None:
        """Drop the account of an inactive pipeline. Raises KeyError for one that is active or was never registered."""
        with self._writing() as connection:
            account = account_rows.get(connection, pipeline)
            if account.active:
                raise KeyError(pipeline)
            replay_rows.forget(connection, account)
            run(connection, SQL.forget_pipeline, pipeline)

    def commit(
        self, updates: Sequence[Update], replayed: Replayed | None = None, token: bytes | None = None
    ) -> None:
        """Apply the updates, and what has become of replayed dead letters, in one durable transaction (J4)."""
        with self._writing() as connection:
            if token is not None:
                if run(connection, SQL.last_commit) == [(token,)]:
                    return
                run(connection, SQL.put_last_commit, token)
            for update in updates:
                _apply(connection, update)
            if replayed:
                letter_rows.settle(connection, replayed)

    def deliver_again(self, pipeline: str, first: int, end: int, asked: str, others: int = 0) -> None:
        """Make a pipeline deliver events of the journal again: those from `first` to before `end`."""
        with self._writing() as connection:
            replay_rows.add(connection, pipeline, first, end, asked, others)

    def pause(self, pipeline: str, *, paused: bool) -> None:
        """Keep whether the pipeline is to wait. Raises KeyError for one that was never registered."""
        with self._writing() as connection:
            account = account_rows.get(connection, pipeline)
            account.paused = paused
            account_rows.put(connection, account)

    def replay(self, selection: Selection, replay: Replay, at: int) -> int:
        """Mark dead letters to be delivered again and give how many events they hold."""
        with self._writing() as connection:
            return letter_rows.replay(connection, selection, replay, at)

    def purge(self, selection: Selection) -> int:
        """Delete dead letters and give how many events they held, which stay counted as dead-lettered."""
        with self._writing() as connection:
            return letter_rows.purge(connection, selection, int(self._clock() * 1000))

    def forget_receipts(self, before: int) -> None:
        """Drop receipts from before a time, Unix milliseconds."""
        with self._writing() as connection:
            run(connection, SQL.forget_receipts, before)

    def note(self, conditions: Mapping[str, str]) -> None:
        """Keep the JSON that status shows of pipelines' conditions."""
        with self._writing() as connection:
            connection.executemany(SQL.note, [(text, pipeline) for pipeline, text in conditions.items()])

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
                check = _check_all if recovery.is_noted(self._path) else _check
                connection = recovery.inspect(self._path, SQL, check, checksums.introduce)
            except JournalDamaged as damage:
                reason, at = str(damage.facts["reason"]), int(self._clock() * 1000)
                recovery.create(self._path, SQL, lambda new: _rescue(new, self._path, at, reason))
                connection = recovery.inspect(self._path, SQL, _check)
                incidents.tell(connection, SQL, self._path)
            else:
                recovery.forget_note(self._path)
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


def _apply(connection: apsw.Connection, update: Update) -> None:
    account = account_rows.get(connection, update.pipeline)
    account_rows.put(connection, applied(account, update))
    if update.replay_range:
        replay_rows.move(connection, update.replay_range, update.progress)
    letter_rows.add(connection, update.letters)
    receipts = [
        (r.pipeline, r.first, r.last, r.at, r.attempts, r.place, r.members, r.owed) for r in update.receipts
    ]
    if receipts:
        connection.executemany(SQL.add_receipt, receipts)
        run(connection, SQL.guard_receipts)
    if update.paid:
        run(connection, SQL.pay, json.dumps(update.paid))
        run(connection, SQL.guard_receipts_again, json.dumps(update.paid))


def _rescue(connection: apsw.Connection, path: Path, at: int, reason: str) -> None:
    saved = salvage.save(connection, path)
    what = f"{path.name} was damaged ({reason}); what is left of it is set aside beside it. {saved}"
    incidents.restore(connection, SQL, path)
    run(connection, SQL.add_incident, at, what)


def _check(connection: apsw.Connection) -> None:
    verdict = run(connection, SQL.check)
    if verdict != [("ok",)]:
        raise apsw.CorruptError(str(verdict[0][0]))
    account_rows.accounts(connection)


def _check_all(connection: apsw.Connection) -> None:
    """Look at every row, because somebody has met damage."""
    _check(connection)
    if run(connection, SQL.unsound_letters) or run(connection, SQL.unsound_receipts):
        raise apsw.CorruptError("rows do not match their checksums")
