"""The shipped doubles pass the suite of the real ones."""

from __future__ import annotations

from auditflow.journal.memory import MemoryJournal
from auditflow.ledger.memory import MemoryLedger
from auditflow.testing.contracts.journal import JournalContract
from auditflow.testing.contracts.ledger import LedgerContract


class TestMemoryJournal(JournalContract):
    def make(self, **settings) -> MemoryJournal:
        return MemoryJournal(**settings)


class TestMemoryLedger(LedgerContract):
    def make(self) -> MemoryLedger:
        return MemoryLedger()
