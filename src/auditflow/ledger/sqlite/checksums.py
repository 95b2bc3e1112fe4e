"""Dead letters and receipts are guarded by checksums, which stand in tables of their own."""
# Tested in tests/ledger/sqlite/test_ledger.py.

from __future__ import annotations

from typing import Any

import apsw

from auditflow.ledger.sqlite.account_rows import SQL
from auditflow.storage.sqlite import run

TABLES = ("letter_checksum", "receipt_checksum")


def guarded(row: tuple[Any, ...], what: str) -> tuple[Any, ...]:
    """Give a row without its last two columns, its checksum as written and as it is now. Raises CorruptError."""
    *values, written, found = row
    if written is not None and written != found:
        raise apsw.CorruptError(f"a {what} does not match its checksum")
    return tuple(values)


def introduce(connection: apsw.Connection) -> None:
    """Give a ledger of an earlier release its checksums: what is in it now is what it is guarded as."""
    names = {name for (name,) in run(connection, "SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if not {"letter", "receipt"} <= names or set(TABLES) <= names:
        return
    run(connection, "BEGIN IMMEDIATE")
    try:
        for statement in SQL.schema():
            if "checksum" in statement:
                run(connection, statement)
        guard(connection)
        run(connection, "COMMIT")
    except BaseException:
        if connection.in_transaction:
            run(connection, "ROLLBACK")
        raise


def guard(connection: apsw.Connection) -> None:
    """Guard what has no checksum."""
    run(connection, SQL.guard_unguarded_letters)
    run(connection, SQL.guard_unguarded_receipts)


def drop_unsound(connection: apsw.Connection) -> int:
    """Delete what does not match its checksum; give how many dead letters."""
    letters = run(connection, SQL.unsound_letters)
    connection.executemany(SQL.drop_letter, letters)
    connection.executemany(SQL.drop_receipt, run(connection, SQL.unsound_receipts))
    return len(letters)
