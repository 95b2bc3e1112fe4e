"""The delivery role: pipelines and their sinks, and the sink service on 8082. It alone writes the ledger."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence

from auditflow.api.sink_service import OpenSinks, SinkService, build
from auditflow.apps.data_directory import DataDirectory
from auditflow.apps.lifecycle import stop_requested
from auditflow.apps.server import Server
from auditflow.config import Config, PipelineConfig, SinkConfig
from auditflow.journal import Ledger, Progress
from auditflow.journal.ledger import SqliteLedger
from auditflow.journal.sqlite import SqliteJournal
from auditflow.pipelines.condition import compile_condition
from auditflow.pipelines.decide import Decide
from auditflow.pipelines.destination import Destination
from auditflow.pipelines.flow import Pipeline
from auditflow.pipelines.record import Record
from auditflow.pipelines.recorder import Recorder
from auditflow.pipelines.sample import keeps
from auditflow.pipelines.tail import Tail
from auditflow.plugins import Catalogue

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
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.run_on(listener))
            tasks.create_task(delivery.run(stopping, config.server.shutdown_timeout))
            _log.info("sink service at http://%s:%s", *listener.getsockname()[:2])
            await stopping.wait()
            server.stop()
    finally:
        await sinks.close()
        ledger.close()
        journal.close()


class Delivery:
    """All pipelines of the process, over one reader and one recorder."""

    def __init__(
        self, pipelines: Sequence[PipelineConfig], catalogue: Catalogue, tail: Tail, ledger: Ledger
    ) -> None:
        self._tail = tail
        self._recorder = Recorder(ledger)
        self._destinations: list[tuple[SinkConfig, Destination]] = []
        progress = {account.pipeline: account.progress for account in ledger.accounts()}
        self._pipelines = [self._pipeline(each, catalogue, progress[each.name]) for each in pipelines]

    def _pipeline(self, config: PipelineConfig, catalogue: Catalogue, progress: Progress) -> Pipeline:
        record = Record(config.name, progress, self._recorder)
        destination = self._destination(config, catalogue)
        return Pipeline(self._tail, decide_of(config, catalogue), destination, config.delivery, record)

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
                working = [tasks.create_task(pipeline.run()) for pipeline in self._pipelines]
                await stopping.wait()
                self._tail.stop()
                for _, destination in self._destinations:
                    destination.stop()
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
