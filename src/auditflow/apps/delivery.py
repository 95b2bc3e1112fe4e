"""The delivery role: pipelines and their sinks, and the sink service on 8082. It alone writes the ledger."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from auditflow.apps.configuration.reload import Change, Reload
from auditflow.apps.configuration.secrets import secret_source
from auditflow.apps.configuration.tenants import tenant_folder, terms, watch
from auditflow.apps.data_directory import DataDirectory
from auditflow.apps.destinations import Destinations
from auditflow.apps.http.server import Server
from auditflow.apps.lifecycle import pass_over_what_lasts, reload_requested, stop_requested
from auditflow.apps.operator import Operator
from auditflow.apps.operator_audit import AuditedCommands, authenticating, operator_audit_of
from auditflow.apps.pipeline_runtime import CHANGE_SECONDS, PipelineRuntime, Stores, ended, runtime_of
from auditflow.apps.sink_service import sink_service
from auditflow.apps.upkeep.clock import start_aging
from auditflow.apps.upkeep.housekeeping import Housekeeping
from auditflow.config import Config, Running, SinkChoice, TenantFolder, running
from auditflow.ingest.operator_audit import ITSELF
from auditflow.journal import Journal
from auditflow.journal.sqlite.writer import SqliteJournal
from auditflow.ledger import Account, Ledger, inactive
from auditflow.ledger.sqlite.ledger import SqliteLedger
from auditflow.pipelines.deliver.destination import Destination
from auditflow.pipelines.read.tail import TailReader
from auditflow.pipelines.read.tenant_feeds import TenantFeeds
from auditflow.pipelines.record.recorder import Recorder
from auditflow.plugins import NO_SECRETS, Catalogue
from auditflow.secrets.sources import SecretSource
from auditflow.sinks._base import Outcome

_log = logging.getLogger(__name__)


async def run(
    config: Config,
    catalogue: Catalogue,
    directory: DataDirectory,
    listener: socket.socket,
    reload: Callable[[Change], Reload],
) -> None:
    """Deliver until told to stop. Raises JournalDamaged when the data has to be fixed by a restart."""
    stopping, reload_wanted = stop_requested(), reload_requested()
    journal = SqliteJournal.reader(directory.journal)
    start_aging(journal)
    ledger = SqliteLedger(directory.ledger)
    folder = tenant_folder(config, catalogue, directory, keeps=True)
    enabled = running(config, folder.tenants if folder else None)
    register(ledger, journal, enabled)
    own = operator_audit_of(config, directory)
    service = sink_service(config, catalogue, authenticating(config, directory), own)
    server = Server(service, config.server.shutdown_timeout, config.server.tls)
    delivery = Delivery(
        enabled, catalogue, TailReader(journal), ledger, secret_source(config.secrets, os.environ)
    )
    reloading = reload(partial(_reload, delivery, journal, ledger, folder))
    reloading.on_change = partial(own.note, by=ITSELF)
    housekeeping = Housekeeping(ledger, lambda: reloading.config, delivery.limits)
    housekeeping.on_purge = partial(own.note, "dead-letters.purged", ITSELF, outcome="success")
    operator = Operator(
        AuditedCommands(directory.commands, own), journal, ledger, delivery.heed, reloading.reload
    )
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.run_on(listener))
            tasks.create_task(delivery.run(stopping, config.server.shutdown_timeout))
            aside = [
                tasks.create_task(operator.run()),
                tasks.create_task(housekeeping.run()),
                tasks.create_task(reloading.watch(reload_wanted)),
            ]
            if folder:
                aside.append(tasks.create_task(watch(folder, reloading.refresh)))
            _log.info("sink service at %s://%s:%s", config.server.scheme, *listener.getsockname()[:2])
            await stopping.wait()
            for task in aside:
                task.cancel()
            server.stop()
    finally:
        await service.close()
        ledger.close()
        journal.close()


async def _reload(  # noqa: PLR0913, PLR0917 - all that it concerns
    delivery: Delivery,
    journal: Journal,
    ledger: Ledger,
    folder: TenantFolder | None,
    config: Config,
    catalogue: Catalogue,
) -> list[str]:
    """Let delivery go on by another configuration; give the pipelines that it changes."""
    if folder:
        await asyncio.to_thread(folder.judge_by, terms(config, catalogue))
    wanted = running(config, folder.tenants if folder else None)
    return await _change(delivery, journal, ledger, wanted, catalogue)


async def _change(
    delivery: Delivery,
    journal: Journal,
    ledger: Ledger,
    pipelines: Sequence[Running],
    catalogue: Catalogue,
) -> list[str]:
    """Let delivery go on with these pipelines. Those that are gone stay in the ledger until all the rest is done."""
    old = delivery.running()
    wanted = {each.name for each in pipelines}
    leaving = [each for each in old if each.name not in wanted]
    await asyncio.to_thread(register, ledger, journal, [*leaving, *pipelines])
    try:
        changed = await delivery.change(pipelines, catalogue)
    except BaseException:
        await asyncio.to_thread(register, ledger, journal, old)
        raise
    if leaving:
        await asyncio.to_thread(register, ledger, journal, pipelines)
    return changed


def register(ledger: Ledger, journal: Journal, pipelines: Sequence[Running]) -> None:
    """Make exactly these pipelines active in the ledger."""
    owners = {each.name: each.tenant for each in pipelines}
    inactive.register(ledger, journal, owners)


class Delivery:
    """All pipelines of the process, over one reader and one recorder."""

    def __init__(
        self,
        pipelines: Sequence[Running],
        catalogue: Catalogue,
        tail: TailReader,
        ledger: Ledger,
        secrets: SecretSource = NO_SECRETS,
    ) -> None:
        self._stores = Stores(tail, TenantFeeds(tail), ledger, Recorder(ledger))
        self._secrets = secrets
        self._destinations = Destinations()
        self._tasks: asyncio.TaskGroup | None = None
        accounts = {account.pipeline: account for account in ledger.accounts()}
        self._work = {each.name: self._made(each, catalogue, accounts[each.name]) for each in pipelines}

    def running(self) -> list[Running]:
        """Give the pipelines at work."""
        return [work.running for work in self._work.values()]

    def heed(self, accounts: Sequence[Account]) -> None:
        """Do as the ledger says now."""
        for account in accounts:
            if work := self._work.get(account.pipeline):
                work.heed(account)

    def limits(self, pipeline: str, full: Outcome | None, warning: str) -> None:
        """Keep of a pipeline whether its dead letters are too many, and the warning before they are."""
        if work := self._work.get(pipeline):
            work.record.limits(full, warning)

    async def change(self, pipelines: Sequence[Running], catalogue: Catalogue) -> list[str]:
        """Go on with these pipelines, which the ledger knows; give the names of those that have changed.

        Pipelines that stay as they are go on undisturbed; one that changes goes on where it is. Raises what
        making a sink or transformer raises, and then nothing has changed.
        """
        wanted = {each.name: each for each in pipelines}
        accounts = {account.pipeline: account for account in self._stores.ledger.accounts()}
        ending = [work for name, work in self._work.items() if wanted.get(name) != work.running]
        for work in ending:  # what the ledger will say when the last call under way is recorded
            accounts[work.running.name].progress = work.record.progress
        new = {
            name: self._made(each, catalogue, accounts[name])
            for name, each in wanted.items()
            if name not in self._work or self._work[name] in ending
        }
        for work in ending:
            work.stop()
        await ended(ending, CHANGE_SECONDS)
        for work in ending:
            del self._work[work.running.name]
        self._work |= new
        if self._tasks is not None:
            await self._start(new.values(), self._tasks)
        self._stores.feeds.keep({work.running.tenant for work in self._work.values()})
        await self._destinations.keep([work.target for work in self._work.values()])
        return sorted(new.keys() | {work.running.name for work in ending})

    def _made(self, running: Running, catalogue: Catalogue, account: Account) -> PipelineRuntime:
        def destination_of(choice: SinkChoice) -> Destination:
            create = catalogue.get_sink(choice.name).create
            return self._destinations.of(choice, lambda: create(choice.properties, self._secrets))

        return runtime_of(running, catalogue, self._stores, account, destination_of)

    async def _start(self, works: Iterable[PipelineRuntime], tasks: asyncio.TaskGroup) -> None:
        for work in works:
            work.start(tasks)
        await asyncio.sleep(0)  # until all wait for events
        pass_over_what_lasts()

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
                following = self._tasks.create_task(self._stores.feeds.run())
                await self._start(self._work.values(), self._tasks)
                await stopping.wait()
                tail.stop()
                for work in self._work.values():
                    work.stop()
                await ended(list(self._work.values()), shutdown_seconds)
                watching.cancel()
                following.cancel()
        finally:
            recorder.stop()
            await asyncio.wait([recording])
            if not recording.cancelled():
                recording.exception()  # what it is has been raised where it was met, or nobody waits for it now
            await self._destinations.keep([])


async def _raise_from(task: asyncio.Task[None]) -> None:
    """Raise what ends the task, which goes on when this is cancelled."""
    await asyncio.shield(task)
