"""Who has how many events is counted from headers, each of which is read once."""

from __future__ import annotations

import random
import uuid

import pytest

from auditflow.journal import AppendBatch, Block
from auditflow.journal.memory import MemoryJournal
from auditflow.ledger import Account
from auditflow.ledger.tenant_counts import TenantCounts, others
from auditflow.ledger.tenant_progress import TenantProgress


class CountingJournal(MemoryJournal):
    """Counts the headers it gives."""

    given = 0

    def headers(self, start: int, limit: int) -> list[Block]:
        found = super().headers(start, limit)
        self.given += len(found)
        return found

    async def publish(self, tenants: str) -> None:
        await self.append(
            AppendBatch([b"{}"] * len(tenants), [str(uuid.uuid4()) for _ in tenants], [*tenants])
        )


@pytest.fixture
def journal() -> CountingJournal:
    return CountingJournal(retention=0)


def account(name: str, seen: int, tenant: str | None = None) -> Account:
    return Account(name, True, 1, TenantProgress(seen), tenant=name[0] if tenant is None else tenant)


async def test_the_events_of_others_from_where_a_pipeline_is_to_the_head(journal):
    for tenants in ("ab", "bbc", "a"):
        await journal.publish(tenants)
    accounts = [account("a", 1), account("b", 3), account("c", 7), account("all", 1, "")]
    assert TenantCounts(journal).others(accounts, 7) == {"a": 4, "b": 2, "c": 0}
    assert (others(journal, "b", range(3, 7)), others(journal, "", range(1, 7))) == (2, 0)


async def test_what_is_lost_is_nobody_elses(journal):
    for tenants in ("ab", "bb", "a"):
        await journal.publish(tenants)
    del journal._blocks[1]
    assert TenantCounts(journal).others([account("a", 1)], 6) == {"a": 1}
    journal._blocks[0].tenants = {}
    assert TenantCounts(journal).others([account("a", 1)], 6) == {"a": 0}


async def test_only_headers_that_are_new_are_read_again(journal):
    for _ in range(100):
        await journal.publish("ab")
    tenant_counts, accounts = TenantCounts(journal), [account(f"a{n}", 1) for n in range(50)]
    assert set(tenant_counts.others(accounts, 201).values()) == {100}
    assert journal.given == 100
    await journal.publish("bb")
    assert set(tenant_counts.others(accounts, 203).values()) == {102}
    assert journal.given == 101


async def test_it_is_right_however_pipelines_move_and_blocks_are_evicted(journal):
    rng = random.Random(1)
    tenant_counts, seen = TenantCounts(journal), dict.fromkeys(("a", "b", "c", "d", "a2"), 1)
    ends = [1]
    owners = ["?"]
    for _ in range(200):
        tenants = "".join(rng.choices("abcde", k=rng.randint(1, 5)))
        await journal.publish(tenants)
        owners += tenants
        ends.append(journal.head())
        for name in rng.sample(list(seen), 2):
            seen[name] = rng.choice([end for end in ends if end >= seen[name]])
        if rng.random() < 0.1:
            journal.evict(min(seen.values()), 2**60)
        if rng.random() < 0.5:
            head = journal.head()
            found = tenant_counts.others([account(name, at) for name, at in seen.items()], head)
            assert found == {
                name: sum(owner != name[0] for owner in owners[at:head]) for name, at in seen.items()
            }


async def test_a_pipeline_that_goes_back_is_counted_again(journal):
    await journal.publish("ab")
    await journal.publish("bb")
    tenant_counts = TenantCounts(journal)
    assert tenant_counts.others([account("a", 5)], 5) == {"a": 0}
    assert tenant_counts.others([account("a", 1)], 5) == {"a": 3}
