"""The ingest role: HTTP on 8080 in front of the journal, which it alone writes."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from typing import Final

from auditflow import aging
from auditflow.api import ingest_app
from auditflow.api.operate.events import Where
from auditflow.api.operate.status import Status
from auditflow.apps.configuration.active import IN_FORCE, ActiveConfiguration, ConfigFile, Following
from auditflow.apps.configuration.tenants import provision, shown, tenant_folder
from auditflow.apps.data_directory import DataDirectory
from auditflow.apps.http.server import Server
from auditflow.apps.lifecycle import reload_requested, stop_requested
from auditflow.apps.operator_audit import authenticating, keep, places
from auditflow.apps.upkeep.clock import start_aging
from auditflow.apps.upkeep.journal_room import JournalRoom
from auditflow.config import Config, Running, Tenants, running
from auditflow.ingest.admission import Admission
from auditflow.ingest.auth.web_pages import web_pages_of
from auditflow.ingest.front.front import Front
from auditflow.ingest.limits import Limits
from auditflow.ingest.publish import Publish
from auditflow.ingest.redaction.by_tenant import Redactions
from auditflow.journal.sqlite.writer import SqliteJournal
from auditflow.ledger import Ledger
from auditflow.ledger.commands import Commands
from auditflow.ledger.inactive import register
from auditflow.ledger.sqlite.ledger import SqliteLedger
from auditflow.plugins import discover
from auditflow.storage import recovery

FOLLOW_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


async def run(config: Config, directory: DataDirectory, listener: socket.socket, file: ConfigFile) -> None:
    """Serve until told to stop. Raises JournalDamaged when the data has to be fixed by a restart."""
    stopping = stop_requested()
    reload_requested()  # delivery does it; a hang-up must not end this process
    folder = tenant_folder(config, discover(file.plugins or config.plugins.directory), directory, keeps=False)
    journal, ledger = _open(config, directory, folder.tenants if folder else None)
    tenants = folder.tenants.by_id if folder else None
    publish = Publish(journal, _limits(config), Admission(tenants), Redactions(config.redaction, tenants))
    active_configuration = ActiveConfiguration(directory.config, copies=IN_FORCE in os.environ)
    following = Following(file, active_configuration.text if IN_FORCE in os.environ else file.read, config)

    def pipelines() -> dict[str, Running]:
        return {each.name: each for each in running(following.config(), folder.tenants if folder else None)}

    where = Where(journal, ledger, pipelines, retention=config.journal.retention)
    operating = ingest_app.Operating(
        Status(journal, ledger, time.time, lambda: shown(folder.tenants) if folder else None),
        ledger,
        journal,
        Commands(directory.commands),
        where,
        active_configuration.state,
    )
    authenticator, largest = authenticating(config, directory), config.server.max_request_bytes
    pages = web_pages_of(config.server.hosts, config.auth)
    app = ingest_app.build(publish, operating, publish.unavailable, largest, authenticator, pages)
    front = Front(publish, authenticator, pages)
    server = Server(app, config.server.shutdown_timeout, config.server.tls, front)
    try:
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(server.run_on(listener))
            aside = [
                tasks.create_task(_look_after(directory, _room(config, publish, ledger))),
                tasks.create_task(_follow(following, publish.redactions)),
                tasks.create_task(keep(places(config, directory), publish)),
            ]
            if folder:
                aside.append(tasks.create_task(provision(folder, ledger, publish)))
            _log.info(
                "publishing at %s://%s:%s/audit/publish", config.server.scheme, *listener.getsockname()[:2]
            )
            await stopping.wait()
            server.stop()
            await serving
            for task in aside:
                task.cancel()
    finally:
        journal.close()
        ledger.close()


def _open(
    config: Config, directory: DataDirectory, tenants: Tenants | None = None
) -> tuple[SqliteJournal, SqliteLedger]:
    """Open both stores, fixing what is damaged, and enter the pipelines before any event is accepted."""
    ledger = SqliteLedger(directory.ledger)
    journal = SqliteJournal(
        directory.journal,
        max_size=config.journal.max_size,
        retention=config.journal.retention,
        dedup_window=config.journal.dedup_window,
        floor=max((account.progress.end() for account in ledger.accounts()), default=1),
        aging=aging.now,
    )
    start_aging(journal)
    owners = {each.name: each.tenant for each in running(config, tenants)}
    register(ledger, journal, owners)
    return journal, ledger


def _room(config: Config, publish: Publish, ledger: Ledger) -> JournalRoom:
    """Let publishing ask for room in the journal, and be told whose events there is none for."""
    room = JournalRoom(publish.journal, ledger, config.journal.max_size, publish.admission)
    publish.make_room = room.make
    return room


def _limits(config: Config) -> Limits:
    return Limits(
        request_bytes=config.server.max_request_bytes,
        event_bytes=config.server.max_event_bytes,
        request_events=config.server.max_request_events,
    )


async def _follow(following: Following, redactions: Redactions) -> None:
    """Keep redaction as the configuration in force says."""
    while True:
        await asyncio.sleep(FOLLOW_SECONDS)
        redactions.change((await asyncio.to_thread(following.config)).redaction)


async def _look_after(directory: DataDirectory, room: JournalRoom) -> None:
    """Make room in the journal, now and again.

    Raises JournalDamaged also for what a reader has met: a writer that sits on its cache may never see it.
    """
    while True:
        recovery.raise_noted(directory.journal)
        recovery.raise_noted(directory.ledger)
        await room.look_after()
        await asyncio.sleep(room.pause)
