"""What became of every event: progress, counters, receipts and dead letters of each pipeline."""

from __future__ import annotations

from auditflow.ledger.contract import NOBODY, Account, Lane, Ledger, Update
from auditflow.ledger.dead_letters import ALL, LOST, Letter, LetterGroup, Replay, Replayed, Selection
from auditflow.ledger.progress import Progress
from auditflow.ledger.receipts import Handed, Receipt

__all__ = [
    "ALL",
    "LOST",
    "NOBODY",
    "Account",
    "Handed",
    "Lane",
    "Ledger",
    "Letter",
    "LetterGroup",
    "Progress",
    "Receipt",
    "Replay",
    "Replayed",
    "Selection",
    "Update",
]
