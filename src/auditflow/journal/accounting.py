"""How registering and outcomes change an account: pure, and the same in every ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from auditflow.journal import Account, Progress, Update


def registered(accounts: Sequence[Account], active: Sequence[str], head: int, oldest: int) -> list[Account]:
    """Give all accounts after exactly the pipelines `active` have been made active."""
    known = {account.pipeline: account for account in accounts}
    start = head if known else oldest
    new = [
        Account(name, active=True, base=start, progress=Progress(start))
        for name in dict.fromkeys(active)
        if name not in known
    ]
    return [_resumed(account, oldest, active=account.pipeline in active) for account in accounts] + new


def _resumed(account: Account, oldest: int, *, active: bool) -> Account:
    progress = account.progress
    if account.active or not active or progress.low >= oldest:
        return replace(account, active=active)
    # evicted while nobody waited for them: no longer accounted for
    gone = oldest - progress.low
    terminal = (progress.done & ((1 << gone) - 1)).bit_count()
    moved = Progress(oldest, progress.done >> gone)
    return replace(account, active=True, base=account.base + gone - terminal, progress=moved)


def applied(account: Account, update: Update) -> Account:
    """Give the account after an update."""
    ended = update.delivered + update.filtered + sum(letter.count for letter in update.letters)
    forgotten = update.lane and update.lane not in {lane.id for lane in account.lanes}
    return replace(
        account,
        again=account.again + (ended if forgotten else 0),
        progress=account.progress if update.lane else update.progress.copy(),
        delivered=account.delivered + update.delivered,
        filtered=account.filtered + update.filtered,
        dead_lettered=account.dead_lettered + sum(letter.count for letter in update.letters),
        attempts=account.attempts + update.attempts,
        duplicates=account.duplicates + update.duplicates,
    )
