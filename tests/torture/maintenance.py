"""What an administrator does to the data files while serve is stopped."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .machine import Machine

FILES = ("journal.sqlite", "ledger.sqlite")
_one_at_a_time = threading.Lock()


def maintain(machine: Machine) -> None:
    """Stop serve, compact both files, add an index of one's own to every table, and start serve again."""
    with _one_at_a_time:
        machine.halt()
        try:
            for name in FILES:
                with suppress(sqlite3.Error):  # such as a full disk, or one that cannot be read just now
                    _treat(machine.data / name)
        finally:
            machine.resume()


def _treat(file: Path) -> None:
    with closing(sqlite3.connect(f"file:{file}?mode=rw", uri=True, timeout=5)) as database:
        database.execute("VACUUM")
        tables = database.execute(
            "SELECT t.name, c.name FROM sqlite_master t, pragma_table_info(t.name) c WHERE t.type = 'table' AND c.cid = 0"
        ).fetchall()
        for table, column in tables:
            database.execute(f"CREATE INDEX IF NOT EXISTS administrators_{table} ON {table} ({column})")
        copy = file.with_suffix(".copy")
        try:
            database.execute("VACUUM INTO ?", (str(copy),))
        finally:
            copy.unlink(missing_ok=True)
