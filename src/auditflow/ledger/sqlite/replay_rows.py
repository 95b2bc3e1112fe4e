"""Stretches that are delivered again, as rows of the ledger, each guarded by a checksum over its numbers."""
# Tested in tests/ledger/sqlite/test_ledger.py.

from __future__ import annotations

import apsw

from auditflow.ledger import Account, Progress
from auditflow.ledger.sqlite.account_rows import SQL, get, guard, progress_row, put
from auditflow.ledger.tenant_progress import fitting
from auditflow.storage.sqlite import run


def add(  # noqa: PLR0913, PLR0917 - a row
    connection: apsw.Connection, pipeline: str, first: int, end: int, asked: str, others: int
) -> None:
    """Begin a replay range, and make the pipeline accountable for its events once more. Raises KeyError."""
    if run(connection, SQL.replay_ranges_asked, asked):
        return
    account = get(connection, pipeline)
    numbers = (first, end, others, *progress_row(fitting(Progress(first), account.tenant)))
    run(connection, SQL.add_replay_range, pipeline, asked, *numbers, guard(pipeline, numbers))
    account.again += end - first - others
    put(connection, account)


def move(connection: apsw.Connection, range_id: int, progress: Progress) -> None:
    """Write how far a replay range has come, and end it where it has come to its end."""
    for pipeline, first, end, others in run(connection, SQL.replay_range, range_id):
        if progress.low >= end:
            run(connection, SQL.drop_replay_range, range_id)
            account = get(connection, pipeline)
            account.again += others - progress.others  # what was lost has turned out to be everybody's
            put(connection, account)
        else:
            row = progress_row(progress)
            run(
                connection, SQL.move_replay_range, *row, guard(pipeline, (first, end, others, *row)), range_id
            )


def forget(connection: apsw.Connection, account: Account) -> Account:
    """Drop an account's replay_ranges; what had not ended is no longer accounted for. Give the account as it is then."""
    for replay_range in account.replay_ranges:
        run(connection, SQL.drop_replay_range, replay_range.id)
        account.again -= replay_range.pending
    account.replay_ranges = []
    return account
