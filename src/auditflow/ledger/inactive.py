"""Pipelines that the configuration no longer runs, and the events that they still have to deliver.

A pipeline that is disabled, renamed or removed keeps what it owes until it runs again or somebody gives it up.
"""
# Tested in tests/end_to_end/test_inactive.py.

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence

from auditflow.journal import Journal
from auditflow.ledger import Account, Ledger
from auditflow.ledger.tenant_counts import others

_log = logging.getLogger(__name__)


def register(ledger: Ledger, journal: Journal, owners: Mapping[str, str]) -> None:
    """Make exactly these pipelines active, and say what those that leave have not delivered.

    `owners`: pipeline → the tenant whose events it gets, empty for everybody's. Raises JournalUnavailable, JournalDamaged.
    """
    head = journal.head()
    leaving = [account for account in ledger.accounts() if account.active and account.pipeline not in owners]
    pending = {account.pipeline: pending_when_inactive(journal, account, head) for account in leaving}
    settled = [name for name, count in pending.items() if not count]
    ledger.register([*owners], head, journal.oldest(), owners, settled)
    for name, count in pending.items():
        if count:
            _log.warning("%s", advice(name, count))


def pending_when_inactive(journal: Journal, account: Account, head: int) -> int:
    """Count the events that a pipeline has to deliver when it gets none from the journal's `head` on."""
    until = account.owed_until if account.owed_until is not None else head
    stretch = range(account.progress.seen, until)
    return max(0, account.progress.pending(until, others(journal, account.tenant, stretch)))


def owing(journal: Journal, accounts: Sequence[Account], active: Collection[str]) -> dict[str, int]:
    """Give by name the pipelines that are not among `active`, with the number of events they have to deliver."""
    head = journal.head()
    gone = [account for account in accounts if account.pipeline not in active]
    kept = [account for account in gone if account.active or account.owed_until is not None]
    counts = {account.pipeline: pending_when_inactive(journal, account, head) for account in kept}
    return {name: count for name, count in counts.items() if count}


def advice(name: str, count: int) -> str:
    """Say what an inactive pipeline keeps and what can be done about it."""
    events = "1 event" if count == 1 else f"{count:,} events"
    return (
        f"pipeline {name} is disabled or no longer in the configuration and has {events} to deliver, which the journal "
        f"keeps. Put it back, or deliver them by another pipeline with `auditflow replay`, or give them up with "
        f"`auditflow forget-pipeline {name}`"
    )
