"""The delivery role: pipelines and their sinks, and the sink service on 8082. It alone writes the ledger."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from functools import partial

from auditflow.api.sink_service import OpenSinks, SinkService, build
from auditflow.apps.data_directory import DataDirectory
from auditflow.apps.housekeeping import Housekeeping
from auditflow.apps.lifecycle import reload_requested, stop_requested
from auditflow.apps.operator import Operator
from auditflow.apps.reload import Change, Reload
from auditflow.apps.server import Server
from auditflow.apps.work import CHANGE_SECONDS, Stores, Work, ended, work_of
from auditflow.config import Config, PipelineConfig, SinkChoice
from auditflow.ingest.auth import authenticator_of
from auditflow.journal import Account, Journal, Ledger
from auditflow.journal.commands import Commands
from auditflow.journal.ledger import SqliteLedger
from auditflow.journal.sqlite import SqliteJournal
from auditflow.pipelines.destination import Destination
from auditflow.pipelines.recorder import Recorder
from auditflow.pipelines.tail import Tail
from auditflow.plugins import Catalogue
from auditflow.sinks._base import Outcome
from auditflow.sinks._reach import LOOPBACK, Reach

_log = logging.getLogger(__name__)


async def run(
    config: Config,
    catalogue: Catalogue,
    directory: DataDirectory,
    listener: socket.socket,
    reload: Callable[[Change], Reload],
) -> None:
    """Deliver until told to stop. Raises JournalDamaged when the data has to be mended by a restart."""
    stopping, reload_wanted = stop_requested(), reload_requested()
    journal = SqliteJournal.reader(directory.journal)
    ledger = SqliteLedger(directory.ledger)
    enabled = [pipeline for pipeline in config.pipelines if pipeline.enabled]
    ledger.register([pipeline.name for pipeline in enabled], journal.head(), journal.oldest())
    here = (
        LOOPBACK if config.auth is None else ()
    )  # then it is bound to loopback, and its callers are here as well
    sinks = OpenSinks(Reach((*config.server.sink_service_may_reach, *here)))
    authenticator = authenticator_of(config.auth, directory.keys)
    largest = config.server.max_request_bytes
    service = build(SinkService(catalogue, sinks), lambda: "", largest, authenticator)
    server = Server(service, config.server.shutdown_timeout, config.server.tls)
    delivery = Delivery(enabled, catalogue, Tail(journal), ledger)
    reloading = reload(partial(_change, delivery, journal, ledger))
    operator = Operator(Commands(directory.commands), journal, ledger, delivery.heed, reloading.reload)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.run_on(listener))
            tasks.create_task(delivery.run(stopping, config.server.shutdown_timeout))
            aside = [
                tasks.create_task(operator.run()),
                tasks.create_task(Housekeeping(ledger, lambda: reloading.config, delivery.limits).run()),
                tasks.create_task(reloading.watch(reload_wanted)),
            ]
            _log.info("sink service at %s://%s:%s", config.server.scheme, *listener.getsockname()[:2])
            await stopping.wait()
            for task in aside:
                task.cancel()
            server.stop()
    finally:
        await sinks.close()
        ledger.close()
        journal.close()


async def _change(
    delivery: Delivery,
    journal: Journal,
    ledger: Ledger,
    pipelines: Sequence[PipelineConfig],
    catalogue: Catalogue,
) -> list[str]:
    """Let delivery go on with these pipelines. Those that are gone stay in the ledger until all the rest is done."""
    names = [pipeline.name for pipeline in pipelines]
    old = [account.pipeline for account in ledger.accounts() if account.active]
    extent = journal.head(), journal.oldest()
    await asyncio.to_thread(ledger.register, list(dict.fromkeys(old + names)), *extent)
    try:
        changed = await delivery.change(pipelines, catalogue)
    except BaseException:
        await asyncio.to_thread(ledger.register, old, *extent)
        raise
    await asyncio.to_thread(ledger.register, names, *extent)
    return changed


class Delivery:
    """All pipelines of the process, over one reader and one recorder."""

    def __init__(
        self, pipelines: Sequence[PipelineConfig], catalogue: Catalogue, tail: Tail, ledger: Ledger
    ) -> None:
        self._stores = Stores(tail, ledger, Recorder(ledger))
        self._destinations: list[tuple[SinkChoice, Destination]] = []
        self._tasks: asyncio.TaskGroup | None = None
        accounts = {account.pipeline: account for account in ledger.accounts()}
        self._work = {each.name: self._made(each, catalogue, accounts[each.name]) for each in pipelines}

    def heed(self, accounts: Sequence[Account]) -> None:
        """Do as the ledger says now."""
        for account in accounts:
            if work := self._work.get(account.pipeline):
                work.heed(account)

    def limits(self, pipeline: str, full: Outcome | None, warning: str) -> None:
        """Keep of a pipeline whether its dead letters are too many, and the warning before they are."""
        if work := self._work.get(pipeline):
            work.record.limits(full, warning)

    async def change(self, pipelines: Sequence[PipelineConfig], catalogue: Catalogue) -> list[str]:
        """Go on with these pipelines, which the ledger knows; give the names of those that have changed.

        Pipelines that stay as they are go on undisturbed; one that changes goes on where it is. Raises what
        making a sink or transformer raises, and then nothing has changed.
        """
        wanted = {each.name: each for each in pipelines}
        accounts = {account.pipeline: account for account in self._stores.ledger.accounts()}
        ending = [work for name, work in self._work.items() if wanted.get(name) != work.config]
        for work in ending:  # what the ledger will say when the last call under way is recorded
            accounts[work.config.name].progress = work.record.progress
        new = {
            name: self._made(each, catalogue, accounts[name])
            for name, each in wanted.items()
            if name not in self._work or self._work[name] in ending
        }
        for work in ending:
            work.stop()
        await ended(ending, CHANGE_SECONDS)
        for work in ending:
            del self._work[work.config.name]
        self._work |= new
        if self._tasks is not None:
            for work in new.values():
                work.start(self._tasks)
        await self._close_unused()
        return sorted(new.keys() | {work.config.name for work in ending})

    def _made(self, config: PipelineConfig, catalogue: Catalogue, account: Account) -> Work:
        return work_of(config, catalogue, self._stores, account, partial(self._reach, catalogue))

    def _reach(self, catalogue: Catalogue, choice: SinkChoice) -> Destination:
        """Give the pipelines that share sink and properties one destination."""
        for other, destination in self._destinations:
            if (other.name, other.properties) == (choice.name, choice.properties):
                return destination
        destination = Destination(catalogue.get_sink(choice.name).create(choice.properties))
        self._destinations.append((choice, destination))
        return destination

    async def _close_unused(self) -> None:
        outlets = [work.outlet for work in self._work.values()]
        used = {id(outlet.destination) for outlet in outlets}
        used |= {id(outlet.fallback.destination) for outlet in outlets if outlet.fallback}
        unused = [destination for _, destination in self._destinations if id(destination) not in used]
        self._destinations = [each for each in self._destinations if id(each[1]) in used]
        await asyncio.gather(*(destination.close() for destination in unused))

    async def run(self, stopping: asyncio.Event, shutdown_seconds: float) -> None:
        """Deliver until told to stop; then let the calls under way end, within `shutdown_seconds`.

        Raises JournalDamaged.
        """
        recorder, tail = self._stores.recorder, self._stores.tail
        recording = asyncio.create_task(recorder.run())
        try:
            async with asyncio.TaskGroup() as self._tasks:
                watching = self._tasks.create_task(_raise_from(recording))
                self._tasks.create_task(tail.run())
                for work in self._work.values():
                    work.start(self._tasks)
                await stopping.wait()
                tail.stop()
                for work in self._work.values():
                    work.stop()
                await ended(list(self._work.values()), shutdown_seconds)
                watching.cancel()
        finally:
            recorder.stop()
            await asyncio.wait([recording])
            await asyncio.gather(*(destination.close() for _, destination in self._destinations))


async def _raise_from(task: asyncio.Task[None]) -> None:
    """Raise what ends the task, which goes on when this is cancelled."""
    await asyncio.shield(task)
