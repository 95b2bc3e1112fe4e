"""Keeps the journal's file inside `max-size`: what takes room, and how room is made (J6).

Pages of evicted blocks are used again by later ones; the file itself does not shrink (auto_vacuum is off).
"""
# Tested in tests/journal/sqlite/test_writer.py.

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

import apsw

from auditflow.errors import JournalFull
from auditflow.journal.sqlite.opening import SQL
from auditflow.storage.sqlite import BUSY_MILLISECONDS, run, sidecar, transaction
from auditflow.units import readable_size

STEP_BLOCKS: Final = 1_000
STEP_BYTES: Final = 64 * 2**20
"""One step deletes no more than this, so that it never holds up the event loop for long."""


def size(connection: apsw.Connection, path: Path) -> int:
    """Give the bytes of the pages in use and of the write-ahead log."""
    ((count, page),) = run(connection, SQL.pages)
    with suppress(FileNotFoundError):
        return int(count * page) + sidecar(path, "-wal").stat().st_size
    return int(count * page)


def make_room(connection: apsw.Connection, path: Path, need: int, limit: int, finished: int) -> int:
    """Evict finished blocks, if it must be even inside retention, until `need` bytes fit; give the room there is.

    Raises JournalFull when there is no finished block left.
    """
    room = limit - size(connection, path)
    while room < need:
        _shrink_log(connection)
        room = limit - size(connection, path)
        if room < need and not evict(connection, finished, enough=max(need, limit // 64)):
            raise JournalFull(size=readable_size(limit - room), limit=readable_size(limit))
    return room


def evict(
    connection: apsw.Connection, finished: int, before: int | None = None, enough: int = STEP_BYTES
) -> int:
    """Delete the oldest blocks below sequence number `finished`; give how many.

    Stops at one appended at or after `before` (Unix time, milliseconds), or when `enough` bytes are free.
    """
    count = freed = end = 0
    for block_end, appended_at, payload in run(connection, SQL.evictable, STEP_BLOCKS):
        young = before is not None and appended_at >= before
        if block_end > finished or young or freed >= min(enough, STEP_BYTES):
            break
        count, freed, end = count + 1, freed + payload, block_end
    if count:
        with transaction(connection):
            run(connection, SQL.evict, end)
            run(connection, SQL.raise_floor, end)
    return count


def forget_ids(connection: apsw.Connection, before: int) -> None:
    """Delete ids appended before Unix time `before` in milliseconds: they have left the deduplication window."""
    if run(connection, SQL.expired_ids, before):
        run(connection, SQL.evict_ids, before, STEP_BLOCKS)


def _shrink_log(connection: apsw.Connection) -> None:
    """Move the write-ahead log into the file and cut it to nothing, unless somebody reads just now."""
    connection.set_busy_timeout(0)
    try:
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except apsw.BusyError:
        pass
    finally:
        connection.set_busy_timeout(BUSY_MILLISECONDS)
