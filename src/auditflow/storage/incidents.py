"""What recovery had to do, kept in a file's own table and beside the file: no later damage erases an earlier one's."""
# Tested in tests/journal/sqlite/test_recovery.py.

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import apsw

from auditflow.storage.sqlite import run, sidecar
from auditflow.storage.statements import Statements

KEPT_BYTES: Final = 256 * 1024
"""Of those beside the file, the newest that are read again."""

_log = logging.getLogger(__name__)

Incident = tuple[int, str]
"""Unix milliseconds, and what happened, for people."""


def restore(connection: apsw.Connection, statements: Statements, path: Path) -> None:
    """Enter those that are kept beside a file, or are in what is left of it, into the one that replaces it."""
    known = {(at, what) for at, what in run(connection, statements.incidents)}
    for incident in sorted({*_beside(path), *_within(path, statements)} - known):
        run(connection, statements.add_incident, *incident)


def tell(connection: apsw.Connection, statements: Statements, path: Path) -> None:
    """Write the newest to the log and beside its file, now that the file is in use."""
    *_, (at, what) = run(connection, statements.incidents)
    _log.warning("%s", what)
    line = json.dumps([at, what]).encode() + b"\n"
    with suppress(OSError):  # a disk that takes nothing: it is in the file
        descriptor = os.open(_place(path), os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        try:
            os.write(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def told(incidents: Iterable[Sequence[Any]]) -> list[str]:
    """Write incidents, as the file has them, as sentences with their time."""
    return [f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M:%SZ}: {what}" for at, what in incidents]


def _place(path: Path) -> Path:
    return sidecar(path, "-incidents")


def _beside(path: Path) -> list[Incident]:
    try:
        with _place(path).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - KEPT_BYTES))
            lines = file.read(KEPT_BYTES).splitlines()
    except OSError:
        return []
    return [incident for line in lines if (incident := _read(line))]


def _read(line: bytes) -> Incident | None:
    with suppress(ValueError, TypeError):
        at, what = json.loads(line)
        return int(at), str(what)
    return None


def _within(path: Path, statements: Statements) -> list[Incident]:
    """Read the table of a damaged file, as far as it can be."""
    found: list[Incident] = []
    with suppress(apsw.Error, OSError, ValueError, TypeError):
        old = apsw.Connection(
            f"file:{path}?immutable=1", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        )
        try:
            found += ((int(at), str(what)) for at, what in run(old, statements.incidents))
        finally:
            old.close(force=True)
    return found
