"""Copies what can be read of a damaged ledger into a new one (J5)."""
# Tested in tests/ledger/sqlite/test_ledger.py.

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import apsw

from auditflow.ledger.sqlite import account_rows, checksums
from auditflow.storage import recovery
from auditflow.storage.sqlite import connect, run

TABLES: Final = ("receipt", "incident", "letter", *checksums.TABLES, "pipeline", "lane")

_UNREADABLE: Final = (apsw.Error, UnicodeDecodeError, ValueError, TypeError)


def save(new: apsw.Connection, path: Path) -> str:
    """Copy dead letters, receipts, incidents and, when all of them are sound, accounts; say what became of each.

    Accounts are believed together or not at all: a pipeline without one beside others would begin at the journal's head.
    """
    found = _saved(new, path)
    if found is None:
        return (
            "Nothing of it could be read. Deliveries start again at the oldest event that the journal holds"
        )
    letters, gap, accounts = found
    saved = f"{letters:,} dead letters were saved" + (f"; up to {gap:,} could not be read" if gap else "")
    if accounts:
        return f"{saved}. Every pipeline goes on where it was"
    return (
        f"{saved}. The position of a pipeline could not be read: deliveries start again at the oldest event that the "
        "journal holds, and counters start again"
    )


def _saved(new: apsw.Connection, path: Path) -> tuple[int, int, bool] | None:
    """Copy what can be read: give how many letters, how many not, and whether all accounts; None for nothing at all.

    What can be read the next time is no damage, so what fails is tried again.
    """
    best: tuple[int, int, bool] | None = None
    for pause in (*recovery.CONFIRM_SECONDS[-2:], 0.0):
        for table in TABLES:
            run(new, f"DELETE FROM {table}")  # noqa: S608 - names of ours
        try:
            with closing(connect(path, readonly=True)) as old:
                for table in "receipt", "incident":
                    _copy(old, new, table)
                letters, gap = _copy(old, new, "letter")
                unsound = _check_copies(old, new)
                letters, gap = letters - unsound, gap + unsound
                best = letters, gap, _save_accounts(old, new)
        except _UNREADABLE:
            best = None
        if best is not None and best[2] and not best[1]:
            break
        time.sleep(pause)
    return best


def _check_copies(old: apsw.Connection, new: apsw.Connection) -> int:
    """Leave out copies that do not match their checksums; give how many dead letters."""
    for table in checksums.TABLES:
        _copy(old, new, table)
    unsound = checksums.drop_unsound(new)
    checksums.guard(new)
    return unsound


def _save_accounts(old: apsw.Connection, new: apsw.Connection) -> bool:
    try:
        account_rows.accounts(old)  # each checksum
    except _UNREADABLE:
        return False
    if all(_copy(old, new, table)[1] == 0 for table in ("pipeline", "lane")):
        return True
    run(new, "DELETE FROM pipeline")
    run(new, "DELETE FROM lane")
    return False


def _copy(old: apsw.Connection, new: apsw.Connection, table: str) -> tuple[int, int]:
    """Copy rows from either end up to what cannot be read; give how many, and how many numbers lie between."""
    names = [f'"{row[1]}"' for row in run(new, f"PRAGMA table_info({table})")]
    columns = ", ".join(["rowid", *(name for name in names if name != '"id"')])  # which is the rowid
    add = f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' for _ in columns.split(', '))})"  # noqa: S608 - names of ours
    from_below = _Reading(old, f"SELECT {columns} FROM {table} ORDER BY rowid")  # noqa: S608 - names of ours
    count = last = 0
    for row in from_below:
        last = row[0]
        count += _added(new, add, row)
    if from_below.whole:
        return count, 0
    from_above = _Reading(old, f"SELECT {columns} FROM {table} WHERE rowid > {last:d} ORDER BY rowid DESC")  # noqa: S608 - names of ours
    first = last + 2
    for row in from_above:
        first = row[0]
        count += _added(new, add, row)
    return count, first - last - 1


def _added(new: apsw.Connection, sql: str, row: tuple[Any, ...]) -> int:
    try:
        run(new, sql, *row)
    except apsw.ConstraintError:  # no row of ours
        return 0
    return 1


class _Reading:
    """Rows up to the first that cannot be read; `whole` tells afterwards whether there was none such."""

    def __init__(self, connection: apsw.Connection, sql: str) -> None:
        self._connection = connection
        self._sql = sql
        self.whole = False

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        try:
            cursor = self._connection.execute(self._sql)
        except _UNREADABLE:
            return
        while True:
            try:
                row = next(cursor)
            except StopIteration:
                self.whole = True
                return
            except _UNREADABLE:
                return
            yield row
