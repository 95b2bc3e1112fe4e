"""Accounts as rows of the ledger, each guarded by a checksum over its numbers."""

from __future__ import annotations

from typing import Any, Final
from zlib import crc32

import apsw

from auditflow.journal import Account, Progress
from auditflow.journal.database import run
from auditflow.journal.statements import Statements

SQL: Final = Statements("ledger")


def accounts(connection: apsw.Connection) -> list[Account]:
    """Give all accounts by name. Raises CorruptError for one whose numbers do not match their checksum."""
    return [read(row) for row in run(connection, SQL.accounts)]


def get(connection: apsw.Connection, pipeline: str) -> Account:
    """Give the account of a pipeline. Raises KeyError, CorruptError."""
    rows = run(connection, SQL.account, pipeline)
    if not rows:
        raise KeyError(pipeline)
    return read(rows[0])


def put(connection: apsw.Connection, account: Account) -> None:
    """Write an account in place of the one before."""
    done = account.progress.done
    numbers = (
        int(account.active), int(account.paused), account.base, account.progress.low,
        done.to_bytes((done.bit_length() + 7) // 8, "little"), account.delivered, account.filtered,
        account.dead_lettered, account.replaying, account.attempts, account.duplicates,
    )  # fmt: skip
    crc = _crc(account.pipeline, numbers)
    run(connection, SQL.put_account, account.pipeline, *numbers, crc, account.condition)


def read(row: Any) -> Account:
    """Make an account of a row. Raises CorruptError."""
    name, *numbers, crc, condition = row
    if crc != _crc(name, tuple(numbers)):
        raise apsw.CorruptError(f"the account of pipeline {name!r} does not match its checksum")
    active, paused, base, low, done, delivered, filtered, dead_lettered, replaying, attempts, duplicates = (
        numbers
    )
    return Account(
        pipeline=name,
        active=bool(active),
        paused=bool(paused),
        base=base,
        progress=Progress(low, int.from_bytes(done, "little")),
        delivered=delivered,
        filtered=filtered,
        dead_lettered=dead_lettered,
        replaying=replaying,
        attempts=attempts,
        duplicates=duplicates,
        condition=condition,
    )


def _crc(name: str, numbers: tuple[object, ...]) -> int:
    return crc32(repr((name, numbers)).encode())
