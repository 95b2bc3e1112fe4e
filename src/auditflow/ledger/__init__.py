"""What became of every event: progress, counters, receipts and dead letters of each pipeline."""

from __future__ import annotations

from auditflow.ledger.contract import NOBODY, Account, Ledger, ReplayRange, Update
from auditflow.ledger.dead_letters import ALL, LOST, DeadLetter, DeadLetterGroup, Replay, Replayed, Selection
from auditflow.ledger.progress import Progress
from auditflow.ledger.receipts import Handed, Receipt

__all__ = [
    "ALL",
    "LOST",
    "NOBODY",
    "Account",
    "DeadLetter",
    "DeadLetterGroup",
    "Handed",
    "Ledger",
    "Progress",
    "Receipt",
    "Replay",
    "ReplayRange",
    "Replayed",
    "Selection",
    "Update",
]
