"""Dead letters as rows of the ledger. Whatever moves a dead letter moves its events in the account of its pipeline, too."""
# Tested in tests/ledger/sqlite/test_ledger.py.

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import apsw

from auditflow.ledger import DeadLetter, DeadLetterGroup, Replay, Replayed, Selection
from auditflow.ledger.sqlite.account_rows import SQL, get, put
from auditflow.ledger.sqlite.checksums import guarded
from auditflow.storage.sqlite import run

READ_BYTES: Final = 8 * 2**20
"""So many bytes of events, and what the last dead letter has above, are read at once."""

PURGED: Final = '{"purged":true}'
"""Place of events whose dead letter somebody has deleted."""


def add(connection: apsw.Connection, letters: Iterable[DeadLetter]) -> None:
    """Write new dead letters; their accounts count them already."""
    if values := [_values(letter) for letter in letters]:
        connection.executemany(SQL.add_letter, values)
        run(connection, SQL.guard_letters)


def find(connection: apsw.Connection, selection: Selection, after: int, limit: int) -> list[DeadLetter]:
    """Give the chosen dead letters by ascending id, beginning above `after`."""
    values = selection.values() | {"after": after, "limit": limit}
    return _some(connection.execute(SQL.letters, values))


def groups(connection: apsw.Connection, selection: Selection) -> list[DeadLetterGroup]:
    """Count the chosen dead letters by pipeline and code."""
    return [DeadLetterGroup(*row) for row in _run(connection, SQL.dead_letter_groups, selection.values())]


def dead_events(connection: apsw.Connection, selection: Selection) -> int:
    """Count the events of the chosen dead letters, each once; a run of lost ones by its first number."""
    [(count,)] = _run(connection, SQL.dead_events, selection.values())
    return int(count)


def of(connection: apsw.Connection, pipeline: str, sequence: int) -> DeadLetter | None:
    """Give the dead letter that holds an event of a pipeline."""
    for row in run(connection, SQL.letter_at_or_before, pipeline, sequence):
        letter = DeadLetter(*guarded(row, "dead letter"))
        if sequence < letter.sequence + letter.count:
            return letter
    return None


def to_replay(connection: apsw.Connection, pipeline: str, after: int, limit: int) -> list[DeadLetter]:
    """Give dead letters that the pipeline is to deliver again, by ascending id, beginning above `after`."""
    return _some(connection.execute(SQL.to_replay, (pipeline, after, limit)))


def replay(connection: apsw.Connection, selection: Selection, how: Replay, at: int) -> int:
    """Mark dead letters to be delivered again; give how many events they hold."""
    values = selection.values() | {"to": how.to}
    counts = dict(_run(connection, SQL.count_replayable, values))
    _run(connection, SQL.replay, values | {"rate": how.rate, "at": at, "event": how.event, "by": how.by})
    if how.event is not None:
        _run(connection, SQL.guard_edited, values | {"at": at})
    for pipeline, count in counts.items():
        _move(connection, pipeline, dead_lettered=-count, replaying=count)
    return sum(counts.values())


def purge(connection: apsw.Connection, selection: Selection, at: int) -> int:
    """Delete dead letters, leaving receipts that say so; give how many events they held."""
    values = selection.values()
    _run(connection, SQL.add_receipts_of_purged, values | {"at": at, "place": PURGED})
    run(connection, SQL.guard_receipts)
    [(count,)] = _run(connection, SQL.count_purgeable, values)
    _run(connection, SQL.purge, values)
    return int(count)


def settle(connection: apsw.Connection, replayed: Replayed) -> None:
    """Delete dead letters that have been delivered; those that failed are dead again, with one failure more."""
    for handed in replayed.delivered:
        ids = json.dumps(handed.ids)
        run(connection, SQL.add_receipts_of_letters, handed.at, handed.attempts, handed.place, ids)
        run(connection, SQL.guard_receipts)
        _end(connection, "delivered", ids)
    _end(connection, "filtered", json.dumps(replayed.filtered))
    failed: Counter[str] = Counter()
    for letter in replayed.failed:
        values = letter.code, letter.reason, letter.attempts, letter.last_failed, letter.id
        for pipeline, count in run(connection, SQL.fail_again, *values):
            failed[pipeline] += count
    run(connection, SQL.guard_letters_again, json.dumps([letter.id for letter in replayed.failed]))
    for pipeline, count in failed.items():
        _move(connection, pipeline, dead_lettered=count, replaying=-count)


def _end(connection: apsw.Connection, end: str, ids: str) -> None:
    """Delete dead letters whose events have come to another end."""
    for pipeline, count in run(connection, SQL.count_ended, ids):
        _move(connection, pipeline, **{end: count}, replaying=-count)
    run(connection, SQL.drop_ended, ids)


def release(connection: apsw.Connection) -> None:
    """Make dead letters dead again whose replay waits for a pipeline that no longer runs."""
    for pipeline, count in run(connection, SQL.count_orphans):
        _move(connection, pipeline, dead_lettered=count, replaying=-count)
    run(connection, SQL.release_orphans)


def _some(cursor: apsw.Cursor) -> list[DeadLetter]:
    """Read dead letters, no more at once than memory should hold."""
    letters, total = [], 0
    for row in cursor:
        letters.append(letter := DeadLetter(*guarded(row, "dead letter")))
        total += len(letter.event)
        if total > READ_BYTES:
            break
    cursor.close(force=True)
    return letters


def _run(
    connection: apsw.Connection, sql: str, values: Mapping[str, str | bytes | float | None]
) -> list[Any]:
    return connection.execute(sql, values).fetchall()


def _move(connection: apsw.Connection, pipeline: str, **events: int) -> None:
    """Add numbers of events to those of an account."""
    account = get(connection, pipeline)
    for name, count in events.items():
        setattr(account, name, getattr(account, name) + count)
    put(connection, account)


def _values(letter: DeadLetter) -> Sequence[apsw.SQLiteValue]:
    return (
        letter.pipeline, letter.sequence, letter.code, letter.reason, letter.event, letter.count, letter.attempts,
        letter.first_failed, letter.last_failed, letter.tenant, letter.event_id,
    )  # fmt: skip
