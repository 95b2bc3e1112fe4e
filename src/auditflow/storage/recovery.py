"""Opening after a crash or damage: look, set aside what is damaged, save what can be read, go on (J5).

The order of steps makes each one repeatable: the saved file is complete and on disk before the damaged one
is renamed, and a restart in between finishes the renaming.
"""
# Tested in tests/journal/sqlite/test_recovery.py.

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import apsw

from auditflow.errors import JournalDamaged, JournalOfAnotherVersion
from auditflow.storage.sqlite import (
    PAGE,
    add_functions,
    connect,
    create_directory,
    is_cut_short,
    number,
    run,
    sidecar,
    sync_directory,
    writable,
)
from auditflow.storage.statements import Statements

_TRANSIENT: Final = (
    apsw.IOError, apsw.FullError, apsw.CantOpenError, apsw.ReadOnlyError, apsw.BusyError, apsw.LockedError,
    apsw.PermissionsError, apsw.NoMemError,
)  # fmt: skip
"""What says nothing about the file's content."""

FORMAT: Final = 1
"""Version of the tables, kept as SQLite's user_version. Raise it with a change of the tables, and migrate."""

CONFIRM_SECONDS: Final = (0.05, 0.1, 0.2, 0.4)
"""Pauses between looks at what seems to be damaged."""

_log = logging.getLogger(__name__)

Fill = Callable[[apsw.Connection], None]
"""Writes the first rows of a new file."""


def inspect(path: Path, statements: Statements, check: Fill, upgrade: Fill | None = None) -> apsw.Connection:
    """Open a file and look at all that every later step relies on; damage has to be found several times in a row.

    One read that fails, or brings nothing, can look like damage to SQLite, and what follows sets the file aside.

    `upgrade` brings what an earlier release has written up to date.

    Whether a note that it was found damaged in use is right, `check` decides.

    Raises JournalDamaged; JournalOfAnotherVersion for what is no damage and must be left alone. Until the
    file has passed, closing it leaves the write-ahead log alone: recovery may want to read it.
    """
    for pause in CONFIRM_SECONDS:
        try:
            return _inspect(path, statements, check, upgrade)
        except JournalDamaged:
            time.sleep(pause)
    return _inspect(path, statements, check, upgrade)


def _inspect(path: Path, statements: Statements, check: Fill, upgrade: Fill | None) -> apsw.Connection:
    if not holds_something(path, PAGE):  # to open it would make SQLite delete its write-ahead log
        raise JournalDamaged(path=path, reason="the file is missing or next to empty")
    connection = None
    try:
        connection = connect(path)
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        writable(connection, path)
        if upgrade:
            upgrade(connection)
        _compare(connection, path, statements)
        check(connection)
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
    except BaseException as error:
        if connection is not None:
            connection.close(force=True)
        if isinstance(error, (apsw.Error, ValueError, TypeError)) and not _is_transient(error):
            raise JournalDamaged(path=path, reason=str(error) or type(error).__name__) from error
        raise
    return connection


def create(path: Path, statements: Statements, fill: Fill) -> None:
    """Make a new file, complete and on disk before it gets its name."""
    draft = sidecar(path, ".draft")
    for leftover in (draft, sidecar(draft, "-wal"), sidecar(draft, "-shm")):
        leftover.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    connection = apsw.Connection(str(draft))
    try:
        add_functions(connection)
        run(connection, "PRAGMA journal_mode = OFF")  # a draft is thrown away, not rolled back
        run(connection, "PRAGMA synchronous = OFF")  # flushed once, when it is complete
        run(connection, f"PRAGMA page_size = {PAGE}")
        run(connection, "BEGIN")
        run(connection, f"PRAGMA user_version = {FORMAT}")
        for statement in statements.schema():
            run(connection, statement)
        fill(connection)
        run(connection, "COMMIT")
        run(connection, "PRAGMA journal_mode = WAL")
    finally:
        connection.close(force=True)
    _sync(draft)
    draft.rename(sidecar(path, ".ready"))
    finish_replacing(path)


def finish_replacing(path: Path) -> None:
    """Give a complete new file its name, and set aside what has that name now."""
    create_directory(path)
    ready = sidecar(path, ".ready")
    if not ready.exists():
        return
    aside = _free_name(path)
    for suffix in ("", "-wal"):
        if holds_something(sidecar(path, suffix)):
            sidecar(path, suffix).rename(sidecar(aside, suffix))
    for suffix in ("-wal", "-shm"):
        sidecar(path, suffix).unlink(missing_ok=True)
    ready.rename(path)
    sync_directory(path)
    sidecar(path, "-damaged").unlink(missing_ok=True)


def note_damage(path: Path, reason: str) -> None:
    """Remember over a restart that a file was found damaged in use, where a look at opening may not see it."""
    with suppress(OSError):
        sidecar(path, "-damaged").write_text(reason, "utf-8")


def is_noted(path: Path) -> bool:
    """Tell whether somebody has met damage in the file while it was in use."""
    return sidecar(path, "-damaged").exists()


def raise_noted(path: Path) -> None:
    """Raise JournalDamaged when somebody has met damage in the file while it was in use."""
    try:
        reason = sidecar(path, "-damaged").read_text("utf-8", "replace")
    except OSError:  # there is none, or it cannot be looked at now
        return
    raise JournalDamaged(path=path, reason=reason)


def forget_note(path: Path) -> None:
    """Drop the note of damage when a look at the whole file has found none."""
    with suppress(FileNotFoundError):
        reason = sidecar(path, "-damaged").read_text("utf-8", "replace")
        sidecar(path, "-damaged").unlink()
        _log.warning(
            "%s could not be read once (%s); all of it has been read since and is sound", path, reason
        )


def holds_something(path: Path, least: int = 1) -> bool:
    """Tell whether the file is there and has at least so many bytes."""
    with suppress(FileNotFoundError):
        return path.stat().st_size >= least
    return False


def _compare(connection: apsw.Connection, path: Path, statements: Statements) -> None:
    """Look for our tables. Other tables under another version number are another version's.

    Their order says nothing, which VACUUM changes; nor does what somebody has added, such as an index.
    """
    if {sql for (sql,) in run(connection, statements.schema_now)} >= set(statements.schema()):
        return
    version = number(connection, "PRAGMA user_version")
    if version != FORMAT:
        raise JournalOfAnotherVersion(path=path, found=version, expected=FORMAT)
    raise apsw.CorruptError("its tables are not those of this kind of file")


def _is_transient(error: BaseException) -> bool:
    """Tell whether an error says nothing about the file's content; a file that is too short is damaged."""
    return isinstance(error, _TRANSIENT) and not is_cut_short(error)


def _free_name(path: Path) -> Path:
    at = int(time.time())
    while sidecar(path, f".damaged-{at}").exists():
        at += 1
    return sidecar(path, f".damaged-{at}")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
