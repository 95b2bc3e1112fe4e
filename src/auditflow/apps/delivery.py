"""The delivery role: pipelines and their sinks, and the sink service on 8082. It alone writes the ledger."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from auditflow.api.sink_service import OpenSinks, SinkService, build
from auditflow.apps.data_directory import DataDirectory
from auditflow.apps.lifecycle import stop_requested
from auditflow.apps.operator import Operator
from auditflow.apps.server import Server
from auditflow.config import Config, PipelineConfig, SinkConfig
from auditflow.journal import Account, Ledger
from auditflow.journal.commands import Commands
from auditflow.journal.ledger import SqliteLedger
from auditflow.journal.sqlite import SqliteJournal
from auditflow.pipelines.condition import compile_condition
from auditflow.pipelines.courier import Outlet
from auditflow.pipelines.decide import Decide
from auditflow.pipelines.destination import Destination
from auditflow.pipelines.flow import Pipeline
from auditflow.pipelines.gate import Gate
from auditflow.pipelines.record import Record
from auditflow.pipelines.recorder import Recorder
from auditflow.pipelines.replays import Replays
from auditflow.pipelines.sample import keeps
from auditflow.pipelines.tail import Tail
from auditflow.plugins import Catalogue

FORGET_SECONDS: Final = 10.0

_log = logging.getLogger(__name__)


async def run(
    config: Config, catalogue: Catalogue, directory: DataDirectory, listener: socket.socket
) -> None:
    """Deliver until told to stop. Raises JournalDamaged when the data has to be mended by a restart."""
    stopping = stop_requested()
    journal = SqliteJournal.reader(directory.journal)
    ledger = SqliteLedger(directory.ledger)
    enabled = [pipeline for pipeline in config.pipelines if pipeline.enabled]
    ledger.register([pipeline.name for pipeline in enabled], journal.head(), journal.oldest())
    sinks = OpenSinks()
    service = build(SinkService(catalogue, sinks), lambda: "", config.server.max_request_bytes)
    server = Server(service, config.server.shutdown_timeout)
    delivery = Delivery(enabled, catalogue, Tail(journal), ledger)
    operator = Operator(Commands(directory.commands), ledger, delivery.heed)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.run_on(listener))
            tasks.create_task(delivery.run(stopping, config.server.shutdown_timeout))
            aside = [
                tasks.create_task(operator.run()),
                tasks.create_task(_forget(ledger, config.journal.retention)),
            ]
            _log.info("sink service at http://%s:%s", *listener.getsockname()[:2])
            await stopping.wait()
            for task in aside:
                task.cancel()
            server.stop()
    finally:
        await sinks.close()
        ledger.close()
        journal.close()


async def _forget(ledger: Ledger, retention: float) -> None:
    """Drop receipts, now and again, when the journal drops the blocks of their time."""
    while True:
        await asyncio.to_thread(ledger.forget_receipts, int((time.time() - retention) * 1000))
        await asyncio.sleep(FORGET_SECONDS)


@dataclass(frozen=True, slots=True)
class Work:
    """What is done for one pipeline."""

    outlet: Outlet
    pipeline: Pipeline
    replays: Replays


class Delivery:
    """All pipelines of the process, over one reader and one recorder."""

    def __init__(
        self, pipelines: Sequence[PipelineConfig], catalogue: Catalogue, tail: Tail, ledger: Ledger
    ) -> None:
        self._tail = tail
        self._ledger = ledger
        self._recorder = Recorder(ledger)
        self._destinations: list[tuple[SinkConfig, Destination]] = []
        accounts = {account.pipeline: account for account in ledger.accounts()}
        self._work = {each.name: self._start(each, catalogue, accounts[each.name]) for each in pipelines}

    def heed(self, accounts: Sequence[Account]) -> None:
        """Do as the ledger says now: pause or go on, and deliver letters anew."""
        for account in accounts:
            if work := self._work.get(account.pipeline):
                work.outlet.gate.pause(paused=account.paused)
                work.replays.wake()

    def _start(self, config: PipelineConfig, catalogue: Catalogue, account: Account) -> Work:
        record = Record(config.name, account.progress, self._recorder)
        decide = decide_of(config, catalogue)
        outlet = Outlet(self._destination(config, catalogue), config.delivery, Gate(paused=account.paused))
        return Work(
            outlet,
            Pipeline(self._tail, decide, outlet, record),
            Replays(self._ledger, decide, outlet, record, self._recorder),
        )

    def _destination(self, config: PipelineConfig, catalogue: Catalogue) -> Destination:
        """Give the pipelines that share sink and properties one destination."""
        for sink, destination in self._destinations:
            if sink == config.sink:
                return destination
        destination = Destination(catalogue.get_sink(config.sink.name).create(config.sink.properties))
        self._destinations.append((config.sink, destination))
        return destination

    async def run(self, stopping: asyncio.Event, shutdown_seconds: float) -> None:
        """Deliver until told to stop; then let the calls under way end, within `shutdown_seconds`.

        Raises JournalDamaged.
        """
        recording = asyncio.create_task(self._recorder.run())
        try:
            async with asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(_raise_from(recording))
                tasks.create_task(self._tail.run())
                jobs = [
                    job for work in self._work.values() for job in (work.pipeline.run(), work.replays.run())
                ]
                working = [tasks.create_task(job) for job in jobs]
                await stopping.wait()
                self._tail.stop()
                for work in self._work.values():
                    work.outlet.stop()
                    work.replays.wake()
                _, late = await asyncio.wait(working, timeout=shutdown_seconds) if working else (None, set())
                for task in late:
                    task.cancel()
                watching.cancel()
        finally:
            self._recorder.stop()
            await asyncio.wait([recording])
            await asyncio.gather(*(destination.close() for _, destination in self._destinations))


async def _raise_from(task: asyncio.Task[None]) -> None:
    """Raise what ends the task, which goes on when this is cancelled."""
    await asyncio.shield(task)


def decide_of(config: PipelineConfig, catalogue: Catalogue) -> Decide:
    """Give what a pipeline does with events before its sink sees them."""
    entries = [(catalogue.get_transformer(each.name), each.properties) for each in config.transformers]
    return Decide(
        compile_condition(config.condition) if config.condition else None,
        keeps(config.sample) if config.sample < 1 else None,
        [(entry.function(), dict(properties)) for entry, properties in entries if not entry.identity],
    )
