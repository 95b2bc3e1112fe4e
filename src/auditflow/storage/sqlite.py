"""Opening an SQLite file, and saying in our words what goes wrong with it."""
# Tested in tests/journal/sqlite/test_disk.py.

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import apsw

from auditflow.errors import DataDirectoryUnusable, JournalDamaged, JournalUnavailable

DAMAGE: Final = (apsw.CorruptError, apsw.NotADBError, UnicodeDecodeError)
PAGE: Final = 4096
"""Bytes of a page: the unit in which the file grows."""
WAL_LIMIT: Final = 4 * 2**20
"""Bytes the write-ahead log's file is cut back to after a checkpoint."""
BUSY_MILLISECONDS: Final = 5_000
NEARLY_FULL: Final = 2**20
"""Bytes of free disk below which an I/O error is put down to the lack of room."""


def connect(path: Path, *, readonly: bool = False) -> apsw.Connection:
    """Open an existing file. Every commit is durable (synchronous=FULL) and seen by readers at once (WAL)."""
    flags = apsw.SQLITE_OPEN_READONLY if readonly else apsw.SQLITE_OPEN_READWRITE
    connection = apsw.Connection(str(path), flags=flags)
    try:
        connection.set_busy_timeout(BUSY_MILLISECONDS)
        add_functions(connection)
        run(connection, "PRAGMA trusted_schema = OFF")
        run(connection, "PRAGMA cell_size_check = ON")
        if not readonly:
            run(connection, "PRAGMA journal_mode = WAL")
            run(connection, "PRAGMA synchronous = FULL")
            run(connection, f"PRAGMA journal_size_limit = {WAL_LIMIT}")
    except BaseException:
        connection.close(force=True)
        raise
    return connection


def add_functions(connection: apsw.Connection) -> None:
    """Let statements call our functions."""
    connection.create_scalar_function("checksum", checksum, -1, deterministic=True)


def checksum(*values: apsw.SQLiteValue) -> int:
    """Give the CRC-32 of several values, which the statements of a file may use as a function."""
    crc = 0
    for value in values:
        data = value if isinstance(value, bytes) else str(value).encode()
        crc = crc32(data, crc32(len(data).to_bytes(8, "little"), crc))
    return crc


def run(connection: apsw.Connection, sql: str, *values: apsw.SQLiteValue) -> list[Any]:
    """Execute one statement to its end, so that no read transaction stays open, and give its rows."""
    return connection.execute(sql, values).fetchall()


def each(connection: apsw.Connection, sql: str, **values: apsw.SQLiteValue) -> Generator[Any, None, None]:
    """Give the rows of a statement one by one. Close it when it is not read to its end."""
    cursor = connection.execute(sql, values)
    try:
        yield from cursor
    finally:
        cursor.close(force=True)


def number(connection: apsw.Connection, sql: str, *values: apsw.SQLiteValue) -> int:
    """Execute a statement that gives one whole number."""
    (value,) = run(connection, sql, *values)[0]
    if not isinstance(value, int):
        raise apsw.CorruptError("a number was expected")
    return value


@contextmanager
def transaction(connection: apsw.Connection) -> Generator[None, None, None]:
    """Commit what happens inside, durably, or none of it."""
    run(connection, "BEGIN IMMEDIATE")
    try:
        yield
        run(connection, "COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite has rolled back by itself when the disk is full
            with suppress(apsw.Error):
                run(connection, "ROLLBACK")
        raise


@contextmanager
def explained(path: Path) -> Generator[None, None, None]:
    """Raise JournalDamaged or JournalUnavailable for what SQLite says of the file in use."""
    try:
        yield
    except DAMAGE as error:
        raise JournalDamaged(path=path, reason=_reason(error)) from error
    except (apsw.Error, OSError) as error:
        if is_cut_short(error):
            raise JournalDamaged(path=path, reason="the file is shorter than it says") from error
        raise JournalUnavailable(path=path, reason=_reason(error)) from error


@contextmanager
def usable(path: Path) -> Generator[None, None, None]:
    """Raise DataDirectoryUnusable for what hinders opening or making the file."""
    try:
        yield
    except (apsw.Error, OSError) as error:
        reason = _reason(error)
        suggestion = f"Give this user the right to write in {path.parent}, or choose another directory with --data-dir."
        if _is_full(error, path):
            reason = "the disk is full"
            suggestion = f"Free disk space in {path.parent}, or choose another directory with --data-dir."
        raise DataDirectoryUnusable(path=path.parent, reason=reason, suggestion=suggestion) from error


def writable(connection: apsw.Connection, path: Path) -> None:
    """Raise for a file that can be read only: SQLite would open it all the same."""
    if not connection.readonly("main"):
        return
    if os.access(path, os.W_OK):
        raise apsw.CorruptError("the file's header says that it is read-only")
    raise PermissionError(f"{path.name} is read-only")


def create_directory(path: Path) -> None:
    """Make the directory of a file, for this user alone, unless it is there."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)


def sync_directory(path: Path) -> None:
    """Make a file's new name durable."""
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_cut_short(error: BaseException) -> bool:
    """Tell whether a page is missing that the file says it has: SQLite calls it an I/O error, and it stays one."""
    return (
        isinstance(error, apsw.IOError)
        and getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_SHORT_READ
    )


def sidecar(path: Path, suffix: str) -> Path:
    """Give the path of a file that belongs to `path`: SQLite's ``-wal``, our ``-mark``."""
    return path.with_name(path.name + suffix)


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _is_full(error: BaseException, path: Path) -> bool:
    """Tell whether a full disk is behind the error: where memory is mapped, SQLite says only that I/O failed."""
    if isinstance(error, apsw.FullError) or getattr(error, "errno", None) == errno.ENOSPC:
        return True
    with suppress(OSError):
        disk = os.statvfs(path.parent)
        return isinstance(error, apsw.IOError) and disk.f_bavail * disk.f_frsize < NEARLY_FULL
    return False
