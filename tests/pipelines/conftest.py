"""A pipeline in a small world of its own: journal and ledger in memory, a sink that records."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable

import pytest
import uuid_utils

from auditflow.journal import AppendBatch
from auditflow.journal.memory import MemoryJournal
from auditflow.ledger import Account
from auditflow.ledger.memory import MemoryLedger
from auditflow.ledger.tenant_counts import TenantCounts
from auditflow.pipelines.decide.decision import Decide
from auditflow.pipelines.deliver import destination as destination_module
from auditflow.pipelines.deliver.destination import Destination
from auditflow.pipelines.deliver.dispatcher import DeliveryTarget
from auditflow.pipelines.deliver.fallback import Fallback
from auditflow.pipelines.deliver.pause_gate import PauseGate
from auditflow.pipelines.deliver.policy import DeliveryPolicy
from auditflow.pipelines.deliver.rate_limiter import RateLimiter
from auditflow.pipelines.pipeline import Pipeline
from auditflow.pipelines.read.tail import TailReader
from auditflow.pipelines.read.tenant_feeds import TenantFeeds
from auditflow.pipelines.record.outcomes import PipelineOutcomes
from auditflow.pipelines.record.recorder import Recorder
from auditflow.pipelines.redeliver.backfill import Backfill
from auditflow.pipelines.redeliver.dead_letter_replay import DeadLetterReplay
from auditflow.pipelines.redeliver.journal_replay import JournalReplay
from auditflow.testing.recording_sink import RecordingSink


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(destination_module, "BACKOFF_BASE_SECONDS", 0.002)
    monkeypatch.setattr(destination_module, "BACKOFF_CAP_SECONDS", 0.01)


class World:
    """Journal, ledger and one pipeline `p` over a recording sink."""

    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self.ledger = MemoryLedger()
        self.now = 1_000_000.0
        self.number = 0
        self.tenant = ""
        self.tenant_counts = TenantCounts(self.journal)

    async def publish(self, count: int, *tenants: str) -> list[bytes]:
        """Append events of these tenants in turn."""
        ids = [str(uuid_utils.uuid7()) for _ in range(count)]
        events = [b'{"n":%d,"eventId":"%s"}' % (self.number + i, ids[i].encode()) for i in range(count)]
        self.number += count
        await self.journal.append(
            AppendBatch(
                events, ids, [(tenants or ("_platform",))[i % (len(tenants) or 1)] for i in range(count)]
            )
        )
        return events

    async def publish_bytes(self, event: bytes) -> None:
        await self.journal.append(AppendBatch([event], [str(uuid_utils.uuid7())], ["_platform"]))

    @contextlib.asynccontextmanager
    async def running(
        self,
        sink: RecordingSink,
        decide: Decide | None = None,
        policy: DeliveryPolicy | None = None,
        *,
        fallback: RecordingSink | None = None,
        backfill: bool = False,
    ) -> AsyncIterator[None]:
        self.ledger.register(["p"], self.journal.head(), self.journal.oldest(), {"p": self.tenant})
        recorder = Recorder(self.ledger)
        self.tail = tail = TailReader(self.journal)
        feeds = TenantFeeds(tail)
        source = feeds.feed(self.tenant) if self.tenant else tail
        destination = Destination(sink)
        record = PipelineOutcomes(
            "p", self.account().progress.copy(), recorder, lambda: self.now, tenant=self.tenant
        )
        self.gate = PauseGate(paused=self.account().paused)
        policy, decide = policy or DeliveryPolicy(), decide or Decide()
        second = Fallback(Destination(fallback), policy.fallback_after, backfill) if fallback else None
        target = DeliveryTarget(destination, policy, self.gate, second, RateLimiter(policy.rate or 0.0))
        record.breaker = destination.breaker
        pipeline = Pipeline(source, decide, target, record)
        self.replays = DeadLetterReplay(self.ledger, decide, target, record, recorder)
        self.again = JournalReplay(self.ledger, source, decide, target, record, recorder)
        self.backfill = Backfill(self.ledger, tail, decide, target, record)
        record.on_debt = self.backfill.wake
        redeliveries = (self.replays, self.again, self.backfill)
        working = (pipeline.run(), *(redelivery.run() for redelivery in redeliveries))
        for redelivery in redeliveries:
            redelivery.wake()
        jobs = [asyncio.create_task(job) for job in (recorder.run(), tail.run(), *working)]
        following = asyncio.create_task(feeds.run())
        try:
            yield
        finally:
            tail.stop()
            following.cancel()
            self.gate.stop()
            for redelivery in redeliveries:
                redelivery.wake()
            await asyncio.wait_for(asyncio.gather(*jobs[2:]), 60)
            recorder.stop()
            await asyncio.wait_for(asyncio.gather(*jobs), 60)

    def account(self) -> Account:
        (account,) = [each for each in self.ledger.accounts() if each.pipeline == "p"]
        return account

    def pending(self) -> int:
        account = self.account()
        head = self.journal.head()
        others = self.tenant_counts.others([account], head).get("p", 0)
        pending = account.pending(head, others)
        ended = account.delivered + account.filtered + account.dead_lettered
        assert account.accepted(head, others) == ended + pending, "the counts do not balance"
        return pending

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                self.pending()
                await asyncio.sleep(0.002)

    async def settled(self) -> Account:
        await self.until(lambda: self.pending() == 0)
        return self.account()

    def condition(self) -> dict:
        return json.loads(self.account().condition)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def sink() -> RecordingSink:
    return RecordingSink()
