"""What is done for one pipeline: its new events, and beside them what it delivers again or owes."""
# Tested in tests/apps/test_delivery.py.

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from auditflow import aging
from auditflow.config import PipelineConfig, Running, SinkChoice
from auditflow.ledger import Account, Ledger
from auditflow.pipelines.decide.decision import Decide
from auditflow.pipelines.decide.filter import compile_filter
from auditflow.pipelines.deliver.destination import Destination
from auditflow.pipelines.deliver.dispatcher import DeliveryTarget
from auditflow.pipelines.deliver.fallback import Fallback
from auditflow.pipelines.deliver.pause_gate import PauseGate
from auditflow.pipelines.deliver.rate_limiter import RateLimiter
from auditflow.pipelines.pipeline import Pipeline
from auditflow.pipelines.read.tail import Source, TailReader
from auditflow.pipelines.read.tenant_feeds import TenantFeeds
from auditflow.pipelines.record.outcomes import PipelineOutcomes
from auditflow.pipelines.record.recorder import Recorder
from auditflow.pipelines.redeliver.backfill import Backfill
from auditflow.pipelines.redeliver.dead_letter_replay import DeadLetterReplay
from auditflow.pipelines.redeliver.journal_replay import JournalReplay
from auditflow.pipelines.redeliver.redelivery import Redelivery
from auditflow.plugins import Catalogue

CHANGE_SECONDS: Final = 5.0
"""How long a call under way may hold up a change of its pipeline; then it is cut off and repeated."""


@dataclass(frozen=True, slots=True)
class Stores:
    """What all pipelines of the process read from and write to."""

    tail: TailReader
    feeds: TenantFeeds
    ledger: Ledger
    recorder: Recorder


@dataclass(slots=True)
class PipelineRuntime:
    """A pipeline as it is configured, and everything that is done for it."""

    running: Running
    target: DeliveryTarget
    record: PipelineOutcomes
    pipeline: Pipeline
    redeliveries: Sequence[Redelivery]
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin."""
        jobs = (self.pipeline.run(), *(redelivery.run() for redelivery in self.redeliveries))
        self.tasks = [tasks.create_task(job) for job in jobs]

    def heed(self, account: Account) -> None:
        """Do as the ledger says now: pause or go on, and deliver what it says is to be delivered again."""
        self.target.gate.pause(paused=account.paused)
        for redelivery in self.redeliveries:
            if redelivery.due(account):
                redelivery.wake()

    def stop(self) -> None:
        """Begin no more calls; those under way go on."""
        self.target.gate.stop()
        for redelivery in self.redeliveries:
            redelivery.wake()


async def ended(works: Sequence[PipelineRuntime], seconds: float) -> None:
    """Wait until works that were stopped have ended; cut off what takes longer."""
    tasks = [task for work in works for task in work.tasks]
    _, late = await asyncio.wait(tasks, timeout=seconds) if tasks else (None, set())
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late)


def runtime_of(
    running: Running,
    catalogue: Catalogue,
    stores: Stores,
    account: Account,
    destination_of: Callable[[SinkChoice], Destination],
) -> PipelineRuntime:
    """Make what is done for one pipeline; `reach` gives the destinations."""
    config = running.config
    tail, ledger, recorder = stores.tail, stores.ledger, stores.recorder
    source: Source = stores.feeds.feed(running.tenant) if running.tenant else tail
    decide = decide_of(config, catalogue)
    policy, second = config.delivery, config.sink.fallback
    target = DeliveryTarget(
        destination_of(config.sink),
        policy,
        PauseGate(paused=account.paused),
        Fallback(destination_of(second), policy.fallback_after, second.backfill) if second else None,
        RateLimiter(policy.rate or 0.0),
    )
    record = PipelineOutcomes(
        running.name, account.progress, recorder, aging=aging.now, tenant=running.tenant
    )
    record.breaker = target.destination.breaker
    backfill = Backfill(ledger, tail, decide, target, record)
    record.on_debt = backfill.wake
    redeliveries = (
        DeadLetterReplay(ledger, decide, target, record, recorder),
        JournalReplay(ledger, source, decide, target, record, recorder),
        backfill,
    )
    work = PipelineRuntime(running, target, record, Pipeline(source, decide, target, record), redeliveries)
    work.heed(account)
    return work


def decide_of(config: PipelineConfig, catalogue: Catalogue) -> Decide:
    """Give what a pipeline does with events before its sink sees them."""
    entries = [(catalogue.get_transformer(each.name), each.properties) for each in config.transformers]
    return Decide(
        compile_filter(config.condition, config.sample),
        [(entry.function(), dict(properties)) for entry, properties in entries if not entry.identity],
    )
