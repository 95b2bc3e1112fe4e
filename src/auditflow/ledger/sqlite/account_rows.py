"""Accounts as rows of the ledger, each guarded by a checksum over its numbers."""
# Tested in tests/ledger/sqlite/test_ledger.py.

from __future__ import annotations

import json
from typing import Any, Final
from zlib import crc32

import apsw

from auditflow.ledger import Account, Progress, ReplayRange
from auditflow.ledger.tenant_progress import TenantProgress
from auditflow.storage.sqlite import run
from auditflow.storage.statements import Statements

SQL: Final = Statements("auditflow.ledger.sqlite", "ledger")
OWED_UNTIL: Final = "owedUntil"


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
    numbers = (
        int(account.active), int(account.paused), account.base, *progress_row(account.progress),
        account.delivered, account.filtered, account.dead_lettered, account.replaying, account.again,
        account.attempts, account.duplicates, account.tenant,
    )  # fmt: skip
    crc = guard(account.pipeline, numbers)
    run(connection, SQL.put_account, account.pipeline, *numbers, crc, _condition(account))


def read(row: Any) -> Account:
    """Make an account of a row. Raises CorruptError."""
    name, *numbers, crc, condition, replay_ranges, owed, to_replay = row
    if crc != guard(name, tuple(numbers)):
        raise apsw.CorruptError(f"the account of pipeline {name!r} does not match its checksum")
    active, paused, base, low, done, seen, others, *rest = numbers
    delivered, filtered, dead_lettered, replaying, again, attempts, duplicates, tenant = rest
    return Account(
        pipeline=name,
        active=bool(active),
        paused=bool(paused),
        base=base,
        progress=_progress(tenant, low, done, seen, others),
        delivered=delivered,
        filtered=filtered,
        dead_lettered=dead_lettered,
        replaying=replaying,
        again=again,
        attempts=attempts,
        duplicates=duplicates,
        condition=condition,
        replay_ranges=[_replay_range(name, tenant, *values) for values in sorted(json.loads(replay_ranges))],
        owed=owed,
        tenant=tenant,
        to_replay=bool(to_replay),
        owed_until=None if active else json.loads(condition).get(OWED_UNTIL),
    )


def _condition(account: Account) -> str:
    """Give the condition with what an inactive pipeline owes, for which a row has no column of its own."""
    if account.active:
        return account.condition
    condition = json.loads(account.condition)
    condition.pop(OWED_UNTIL, None)
    if account.owed_until is not None:
        condition[OWED_UNTIL] = account.owed_until
    return json.dumps(condition)


def _replay_range(  # noqa: PLR0913, PLR0917 - a row
    pipeline: str,
    tenant: str,
    number: int,
    first: int,
    end: int,
    of_others: int,
    low: int,
    done: str,
    seen: int,
    others: int,
    crc: int,
) -> ReplayRange:
    bits = bytes.fromhex(done)
    if crc != guard(pipeline, (first, end, of_others, low, bits, seen, others)):
        raise apsw.CorruptError(f"what {pipeline!r} delivers again does not match its checksum")
    return ReplayRange(number, first, end, _progress(tenant, low, bits, seen, others), of_others)


def progress_row(progress: Progress) -> tuple[int, bytes, int, int]:
    """Give a progress as the columns `low`, `done`, `seen` and `others`."""
    return progress.low, progress.packed(), progress.seen, progress.others


def _progress(tenant: str, low: int, packed: bytes, seen: int, others: int) -> Progress:
    return TenantProgress.of_runs(seen, others, packed) if tenant else Progress.unpacked(low, packed)


def guard(name: str, numbers: tuple[object, ...]) -> int:
    """Give the checksum over what a row says."""
    blobs = [number for number in numbers if isinstance(number, bytes)]
    texts = [number for number in numbers if not isinstance(number, bytes)]
    return crc32(b"".join(blobs), crc32(repr((name, texts)).encode()))
