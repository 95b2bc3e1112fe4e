"""What is done for one pipeline: its new events, and beside them what it delivers again or owes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from auditflow.config import PipelineConfig, Running, SinkChoice
from auditflow.ledger import Account, Ledger
from auditflow.pipelines.decide.decision import Decide
from auditflow.pipelines.decide.filter import compile_filter
from auditflow.pipelines.deliver.destination import Destination
from auditflow.pipelines.deliver.dispatcher import Outlet
from auditflow.pipelines.deliver.fallback import Fallback
from auditflow.pipelines.deliver.pause_gate import Gate
from auditflow.pipelines.deliver.rate_limiter import Pace
from auditflow.pipelines.pipeline import Pipeline
from auditflow.pipelines.read.tail import Source, Tail
from auditflow.pipelines.read.tenant_feeds import Router
from auditflow.pipelines.record.outcomes import Record
from auditflow.pipelines.record.recorder import Recorder
from auditflow.pipelines.redeliver.backfill import Backfill
from auditflow.pipelines.redeliver.dead_letter_replay import Replays
from auditflow.pipelines.redeliver.journal_replay import Again
from auditflow.pipelines.redeliver.redelivery import Errand
from auditflow.plugins import Catalogue

CHANGE_SECONDS: Final = 5.0
"""How long a call under way may hold up a change of its pipeline; then it is cut off and repeated."""


@dataclass(frozen=True, slots=True)
class Stores:
    """What all pipelines of the process read from and write to."""

    tail: Tail
    router: Router
    ledger: Ledger
    recorder: Recorder


@dataclass(slots=True)
class Work:
    """A pipeline as it is configured, and everything that is done for it."""

    running: Running
    outlet: Outlet
    record: Record
    pipeline: Pipeline
    errands: Sequence[Errand]
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin."""
        jobs = (self.pipeline.run(), *(errand.run() for errand in self.errands))
        self.tasks = [tasks.create_task(job) for job in jobs]

    def heed(self, account: Account) -> None:
        """Do as the ledger says now: pause or go on, and deliver what it says is to be delivered again."""
        self.outlet.gate.pause(paused=account.paused)
        for errand in self.errands:
            if errand.due(account):
                errand.wake()

    def stop(self) -> None:
        """Begin no more calls; those under way go on."""
        self.outlet.gate.stop()
        for errand in self.errands:
            errand.wake()


async def ended(works: Sequence[Work], seconds: float) -> None:
    """Wait until works that were stopped have ended; cut off what takes longer."""
    tasks = [task for work in works for task in work.tasks]
    _, late = await asyncio.wait(tasks, timeout=seconds) if tasks else (None, set())
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late)


def work_of(
    running: Running,
    catalogue: Catalogue,
    stores: Stores,
    account: Account,
    reach: Callable[[SinkChoice], Destination],
) -> Work:
    """Make what is done for one pipeline; `reach` gives the destinations."""
    config = running.config
    tail, ledger, recorder = stores.tail, stores.ledger, stores.recorder
    source: Source = stores.router.feed(running.tenant) if running.tenant else tail
    decide = decide_of(config, catalogue)
    policy, second = config.delivery, config.sink.fallback
    outlet = Outlet(
        reach(config.sink),
        policy,
        Gate(paused=account.paused),
        Fallback(reach(second), policy.fallback_after, second.backfill) if second else None,
        Pace(policy.rate or 0.0),
    )
    record = Record(running.name, account.progress, recorder, tenant=running.tenant)
    record.breaker = outlet.destination.breaker
    backfill = Backfill(ledger, tail, decide, outlet, record)
    record.on_debt = backfill.wake
    errands = (
        Replays(ledger, decide, outlet, record, recorder),
        Again(ledger, source, decide, outlet, record, recorder),
        backfill,
    )
    work = Work(running, outlet, record, Pipeline(source, decide, outlet, record), errands)
    work.heed(account)
    return work


def decide_of(config: PipelineConfig, catalogue: Catalogue) -> Decide:
    """Give what a pipeline does with events before its sink sees them."""
    entries = [(catalogue.get_transformer(each.name), each.properties) for each in config.transformers]
    return Decide(
        compile_filter(config.condition, config.sample),
        [(entry.function(), dict(properties)) for entry, properties in entries if not entry.identity],
    )
