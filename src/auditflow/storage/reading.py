"""A read-only connection to an SQLite file that another process writes."""
# Tested in tests/journal/sqlite/test_recovery.py.

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from threading import Lock

import apsw

from auditflow.storage.recovery import note_damage
from auditflow.storage.sqlite import DAMAGE, PAGE, connect, explained


class Reading:
    """A read-only connection, one thread at a time: ``with reading as connection``, None while there is no file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._connection: apsw.Connection | None = None
        self._file = 0

    def __enter__(self) -> apsw.Connection | None:
        self._lock.acquire()
        try:
            with explained(self._path):
                return self._current()
        except BaseException:
            self._lock.release()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if error is not None:
                self._drop()
                if isinstance(error, DAMAGE):
                    note_damage(self._path, str(error))  # the writer's next start looks into it
                with explained(self._path):
                    raise error
        finally:
            self._lock.release()

    def close(self) -> None:
        """Release the file; the next use opens it again."""
        with self._lock:
            self._drop()

    def _current(self) -> apsw.Connection | None:
        file = inode(self._path)
        if file != self._file or not file:
            self._drop()
        if self._connection is None and file:
            self._connection = connect(self._path, readonly=True)
            self._file = file
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            with suppress(apsw.Error):
                self._connection.close(force=True)
        self._connection = None


def inode(path: Path) -> int:
    """Give the number that tells a file from another one of the same name; 0 when there is none.

    A file without a whole page is none: to open it would make SQLite delete its write-ahead log.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return 0
    return status.st_ino if status.st_size >= PAGE else 0
