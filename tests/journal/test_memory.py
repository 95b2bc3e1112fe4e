"""The shipped doubles pass the suite of the real ones."""

from __future__ import annotations

from auditflow.journal.memory import MemoryJournal, MemoryLedger
from auditflow.testing.journal_contract import JournalContract
from auditflow.testing.ledger_contract import LedgerContract


class TestMemoryJournal(JournalContract):
    def make(self, **settings) -> MemoryJournal:
        return MemoryJournal(**settings)


class TestMemoryLedger(LedgerContract):
    def make(self) -> MemoryLedger:
        return MemoryLedger()
