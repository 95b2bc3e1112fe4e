"""How registering and outcomes change an account: pure, and the same in every ledger."""
# Tested in tests/ledger/sqlite/test_ledger.py.

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from auditflow.ledger import Account, Progress, Update
from auditflow.ledger.tenant_progress import fitting


def registered(
    accounts: Sequence[Account],
    active: Mapping[str, str],
    head: int,
    oldest: int,
    settled: Collection[str] = (),
) -> list[Account]:
    """Give the accounts that are new or changed when exactly the pipelines `active` are, each with its tenant.

    Those named in `settled` owe nothing when they leave.
    """
    known = {account.pipeline for account in accounts}
    start = head if known else oldest
    new = [
        Account(name, active=True, base=start, progress=fitting(Progress(start), tenant), tenant=tenant)
        for name, tenant in active.items()
        if name not in known
    ]
    resumed = [
        _left(account, head, settled)
        if account.pipeline not in active
        else _resumed(account, oldest, active[account.pipeline])
        for account in accounts
    ]
    return [now for now, before in zip(resumed, accounts, strict=True) if now != before] + new


def _left(account: Account, head: int, settled: Collection[str]) -> Account:
    """Give an account as it is when its pipeline is not active: it keeps what it owes."""
    if not account.active:
        return account
    owes = account.progress.low < head and account.pipeline not in settled
    return replace(account, active=False, owed_until=head if owes else None)


def _resumed(account: Account, oldest: int, tenant: str) -> Account:
    """Give an account as it is when its pipeline is active and gets this tenant's events."""
    progress = account.progress
    base = account.base
    if bool(tenant) != bool(account.tenant):
        base, progress = base + progress.others, fitting(progress, tenant)
    if not account.active and progress.low < oldest:  # evicted while nobody waited for them
        progress = progress.copy()
        base += progress.forget(oldest)
    return replace(account, active=True, tenant=tenant, base=base, progress=progress, owed_until=None)


def applied(account: Account, update: Update) -> Account:
    """Give the account after an update."""
    ended = update.delivered + update.filtered + sum(letter.count for letter in update.letters)
    forgotten = update.replay_range and update.replay_range not in {
        replay_range.id for replay_range in account.replay_ranges
    }
    return replace(
        account,
        again=account.again + (ended if forgotten else 0),
        progress=account.progress if update.replay_range else update.progress.copy(),
        delivered=account.delivered + update.delivered,
        filtered=account.filtered + update.filtered,
        dead_lettered=account.dead_lettered + sum(letter.count for letter in update.letters),
        attempts=account.attempts + update.attempts,
        duplicates=account.duplicates + update.duplicates,
    )
