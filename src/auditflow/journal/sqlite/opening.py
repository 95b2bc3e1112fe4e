"""Opens the journal's file for writing: checks it, and replaces it by what can be saved of it (J5)."""
# Tested in tests/journal/sqlite/test_recovery.py.

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import apsw

from auditflow.errors import JournalDamaged
from auditflow.journal.block_format import Ids, Row, gap
from auditflow.journal.sqlite import salvage
from auditflow.journal.sqlite.mark import Mark
from auditflow.storage import incidents, recovery
from auditflow.storage.sqlite import each, number, run, sidecar, transaction, usable
from auditflow.storage.statements import Statements

SQL: Final = Statements("auditflow.journal.sqlite", "journal")


def open_journal(path: Path, mark: Mark, at: int, load: Callable[[apsw.Connection], None]) -> apsw.Connection:
    """Open the file, whatever it looks like, so that numbers go on from `mark.head` or above.

    `load` reads what else must be readable. Raises DataDirectoryUnusable.
    """
    least = mark.head
    with usable(path):
        recovery.finish_replacing(path)
        if least <= 1 and not path.exists() and not sidecar(path, "-wal").exists():
            recovery.create(path, SQL, _fill)
        try:
            return _open(path, least, at, load)
        except JournalDamaged as damage:
            reason = str(damage.facts["reason"])
            recovery.create(path, SQL, lambda connection: _rescue(connection, path, mark, at, reason))
            connection = _open(path, least, at, load)
            incidents.tell(connection, SQL, path)
            return connection


def _open(path: Path, least: int, at: int, load: Callable[[apsw.Connection], None]) -> apsw.Connection:
    had_log = recovery.holds_something(sidecar(path, "-wal"))
    noted = recovery.is_noted(path)

    def check(connection: apsw.Connection) -> None:
        if noted:
            _check_all(connection)
        _check(connection, least)
        load(connection)
        if had_log and number(connection, SQL.head) < least:
            raise apsw.CorruptError("its write-ahead log cannot be read to the end")

    connection = recovery.inspect(path, SQL, check)
    recovery.forget_note(path)
    head = number(connection, SQL.head)
    if head < least:
        with transaction(connection):
            _insert_gap(connection, head, least, at)
            what = f"{path.name} lacks the newest {least - head} events, which had been accepted: its write-ahead log is gone"
            run(connection, SQL.add_incident, at, what)
        incidents.tell(connection, SQL, path)
    return connection


def _check(connection: apsw.Connection, least: int) -> None:
    _, overlaps, _ = run(connection, SQL.scan)[0]
    if overlaps:
        raise apsw.CorruptError("blocks overlap")
    last = run(connection, SQL.last)
    if last and not Row(*last[0]).sound() and number(connection, SQL.head) != least:
        raise apsw.CorruptError("the newest block is damaged, and so may be its sequence number")
    run(connection, SQL.incidents)


def _check_all(connection: apsw.Connection) -> None:
    """Look at every page and every block, because somebody has met damage: one read that failed is none."""
    verdict = run(connection, SQL.check)
    if verdict != [("ok",)]:
        raise apsw.CorruptError(str(verdict[0][0]))
    for values in each(connection, SQL.every_block):
        if not Row(*values).sound():
            raise apsw.CorruptError("a block does not match its checksum")


def _fill(connection: apsw.Connection) -> None:
    run(connection, SQL.fill_floor)


def _rescue(connection: apsw.Connection, path: Path, mark: Mark, at: int, reason: str) -> None:
    """Fill a new file with the sound rows of the damaged one, up to the number that comes next."""
    _fill(connection)
    run(connection, SQL.raise_floor, mark.floor)
    for row in salvage.rows(path):
        values: Any = row._asdict()
        if isinstance(row, Ids):
            connection.execute(SQL.save_ids, values)
        elif row.first >= mark.floor:  # pages that are free still hold what was evicted
            connection.execute(SQL.save, values)
    saved = number(connection, SQL.saved)
    head = number(connection, SQL.head)
    if head < mark.head:
        _insert_gap(connection, head, mark.head, at)
    end = max(mark.head, head)
    # a mark that is lost says nothing of the floor
    floor = mark.floor if mark.head > 1 else number(connection, SQL.lowest, end)
    missing = end - floor - saved
    what = (
        f"{path.name} was damaged ({reason}); what is left of it is set aside beside it. {saved} events were saved, "
        f"{missing} sequence numbers are without their events, and numbering goes on at {end}"
    )
    incidents.restore(connection, SQL, path)
    run(connection, SQL.add_incident, at, what)


def _insert_gap(connection: apsw.Connection, first: int, end: int, at: int) -> None:
    run(connection, SQL.append, *gap(first, end, at))
