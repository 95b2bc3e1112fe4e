"""The ledger in memory: for tests and trials. The same contract, except that nothing survives."""
# Tested in tests/ledger/sqlite/test_ledger.py.

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import apsw

from auditflow.ledger.sqlite.account_rows import SQL
from auditflow.ledger.sqlite.ledger import SqliteLedger
from auditflow.storage.sqlite import add_functions, run, transaction


class MemoryLedger(SqliteLedger):
    """The ledger as a database in memory."""

    def __init__(self) -> None:  # not the file's: there is none
        self._memory = apsw.Connection(":memory:")
        add_functions(self._memory)
        self._lock = Lock()
        self._clock = time.time
        for statement in SQL.schema():
            run(self._memory, statement)

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    @contextmanager
    def _read(self) -> Iterator[apsw.Connection]:
        with self._lock:
            yield self._memory

    @contextmanager
    def _writing(self) -> Iterator[apsw.Connection]:
        with self._lock, transaction(self._memory):
            yield self._memory
