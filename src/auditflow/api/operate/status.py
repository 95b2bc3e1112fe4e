"""What `GET /api/v1/status` says: per pipeline, what became of the events it is accountable for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from auditflow.api.identity import identity
from auditflow.journal import Journal
from auditflow.ledger import Account, Ledger
from auditflow.ledger.inactive import advice
from auditflow.ledger.tenant_counts import TenantCounts, others

MOST_KEPT: Final = 10_000
"""Counts of inactive pipelines that are remembered: more than there are, unless they come and go."""


class Status:
    """Reads journal and ledger; knows nothing that they do not say, so it is right after any restart."""

    def __init__(
        self,
        journal: Journal,
        ledger: Ledger,
        clock: Callable[[], float],
        tenants: Callable[[], dict[str, Any] | None] = lambda: None,
    ) -> None:
        """`tenants` gives their `count` and the `problems` of their files; None without tenants."""
        self._journal = journal
        self._ledger = ledger
        self._clock = clock
        self.tenants = tenants
        self._tenant_counts = TenantCounts(journal)
        self._others: dict[tuple[str, int, int], int] = {}
        """Of inactive pipelines: how many of the events until where they owe are other tenants'."""

    def pipelines(self, tenant: str | None = None) -> list[dict[str, Any]]:
        """Give every pipeline, or one tenant's, with its counts and condition, by tenant and name.

        Those are left out that are not active and have nothing to deliver.

        The ledger is read before the journal's head: what is appended in between counts as accepted and
        pending, so `accepted = delivered + filtered + deadLettered + pending` at every moment.
        """
        known = self._ledger.accounts()
        head = self._journal.head()
        accounts = [account for account in known if account.active]
        foreign = self._tenant_counts.others(accounts, head)
        return [
            self._pipeline(account, head, foreign.get(account.pipeline, 0))
            if account.active
            else self._inactive(account)
            for account in sorted(known, key=lambda account: account.pipeline)
            if account.active or account.owed_until is not None
            if tenant is None or tenant == identity(account.pipeline)["tenant"]
        ]

    def journal(self) -> dict[str, Any]:
        """Give the journal's extent: sequence numbers, bytes, and the damage it has met."""
        return {
            "head": self._journal.head(),
            "oldest": self._journal.oldest(),
            "bytes": self._journal.size(),
            "incidents": self._journal.incidents() + self._ledger.incidents(),
        }

    def _pipeline(self, account: Account, head: int, others: int) -> dict[str, Any]:
        condition = msgspec.json.decode(account.condition)
        pending = account.pending(head, others)
        return {
            **identity(account.pipeline),
            "state": "paused" if account.paused else condition.get("state", "active"),
            "since": condition.get("since"),
            "breaker": condition.get("breaker", "closed"),
            "accepted": account.accepted(head, others),
            "delivered": account.delivered,
            "filtered": account.filtered,
            "deadLettered": account.dead_lettered,
            "pending": pending,
            "replaying": account.replaying
            + sum(replay_range.pending for replay_range in account.replay_ranges),
            "backfilling": account.owed,
            "oldestPendingAgeSeconds": self._age(account.oldest_open()) if pending else 0,
            "attempts": account.attempts,
            "possibleDuplicates": account.duplicates,
            "lastError": condition.get("lastError"),
            "warning": condition.get("warning") or None,
        }

    def _inactive(self, account: Account) -> dict[str, Any]:
        """Give what a pipeline has done and still has to do that the configuration no longer runs."""
        until = account.owed_until or 0
        key = (account.pipeline, account.progress.seen, until)
        if key not in self._others:  # it does not change: the journal keeps these events
            if len(self._others) >= MOST_KEPT:
                self._others.clear()
            self._others[key] = others(self._journal, account.tenant, range(account.progress.seen, until))
        row = self._pipeline(account, until, self._others[key])
        return row | {"state": "inactive", "warning": advice(account.pipeline, row["pending"])}

    def _age(self, sequence: int) -> float:
        appended_at = self._journal.appended_at(sequence)
        return max(0.0, round(self._clock() - appended_at / 1000, 3)) if appended_at else 0
