"""`auditflow serve`: both roles under a supervisor, or one role alone."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

from auditflow import masking
from auditflow.apps.configuration.active import IN_FORCE, ActiveConfiguration, ConfigFile
from auditflow.apps.configuration.reload import Reload
from auditflow.apps.data_directory import DATA_DIRECTORY, DataDirectory
from auditflow.apps.http.listener import adopt, bind
from auditflow.apps.lifecycle import (
    EXIT_DAMAGED,
    LISTENER,
    SUPERVISED,
    keep_memory,
    leave_nothing_behind,
    may_begin,
)
from auditflow.apps.supervisor import KILL_SECONDS, Role, supervise
from auditflow.config import Config
from auditflow.errors import AuditFlowError, JournalDamaged, JournalUnavailable, OpenToAnyone
from auditflow.ledger.commands import Commands
from auditflow.plugins import Catalogue
from auditflow.secrets.sources import VARIABLES

RoleName = Literal["all", "ingest", "delivery"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Start:
    """What `serve` was asked for."""

    config: Config
    """The file's configuration, with what the command line says in place of it."""
    catalogue: Catalogue
    data_dir: Path | None
    command: Callable[[RoleName], list[str]]
    """Gives the command line that starts a role of the same."""
    file: ConfigFile
    text: bytes
    """The file's content."""
    written: Config
    """The configuration as the file has it."""

    @property
    def directory(self) -> DataDirectory:
        """Where the data is: the command line's, the configuration's, or `auditflow-data` here."""
        return DataDirectory(self.data_dir or self.config.journal.path or DATA_DIRECTORY)


def serve(start: Start, role: RoleName) -> int:
    """Run until stopped; give the exit status. Raises AuditFlowError when it cannot start."""
    leave_nothing_behind()
    directory = start.directory
    directory.prepare()
    if role == "all":
        return _serve_all(start, directory)
    if not os.environ.get(SUPERVISED):  # else the supervisor has done so for us
        directory.lock(role)
        if role == "delivery":
            _activate(start, ActiveConfiguration(directory.config, copies=False))
    if role == "ingest":
        from auditflow.apps import ingest

        listener = _listener(start.config, "ingest")
        return _run(lambda: ingest.run(start.config, directory, listener, start.file))
    from auditflow.apps import delivery

    listener = _listener(start.config, "delivery")
    active_configuration = ActiveConfiguration(directory.config, copies=IN_FORCE in os.environ)
    reload = partial(Reload, start.file, active_configuration, start.text, start.written, start.catalogue)
    return _run(lambda: delivery.run(start.config, start.catalogue, directory, listener, reload))


def _activate(start: Start, active_configuration: ActiveConfiguration) -> bool:
    """Keep what the roles start from. A full disk is no reason not to start: then they read the file itself."""
    try:
        active_configuration.keep(start.text)
    except JournalUnavailable as error:
        _log.warning("%s", error.explained())
        return False
    return True


def _serve_all(start: Start, directory: DataDirectory) -> int:
    server = start.config.server
    finishing = server.shutdown_timeout + KILL_SECONDS
    names: tuple[RoleName, ...] = ("ingest", "delivery")
    locks = {name: directory.lock(name, finishing) for name in names}
    active_configuration = ActiveConfiguration(directory.config, copies=True)
    environment = {IN_FORCE: str(active_configuration.copy)} if _activate(start, active_configuration) else {}
    listeners = {name: _bound(start.config, name) for name in ("ingest", "delivery")}
    ingest, delivery = (
        Role(
            name,
            start.command(name),
            listeners[name],
            locks[name],
            environment | (_withheld() if name == "ingest" else {}),
            tls=server.tls is not None,
        )
        for name in locks
    )
    commands = Commands(directory.commands)
    return _run(
        lambda: supervise(
            ingest,
            delivery,
            server.shutdown_timeout,
            lambda: commands.leave("reload"),
            lambda: directory.check_held("ingest", locks["ingest"]),
        )
    )


def _withheld() -> dict[str, str]:
    """Give what stands in for destinations' secrets in the process that faces the network and delivers nothing.

    They stay set, for a configuration may name them.
    """
    secret = {*masking.VARIABLES, "AWS_ACCESS_KEY_ID"}
    return {name: "withheld" for name in os.environ if name in secret or name.startswith(VARIABLES)}


def _listener(config: Config, role: str) -> socket.socket:
    inherited = os.environ.get(LISTENER)
    return adopt(int(inherited)) if inherited else _bound(config, role)


def _bound(config: Config, role: str) -> socket.socket:
    """Bind a role's socket. Raises OpenToAnyone where it would be reached from elsewhere and nobody had to say who he is."""
    server = config.server
    host, port, flag = (
        (server.host, server.port, "--port")
        if role == "ingest"
        else (server.sink_host, server.sink_port, "--sink-port")
    )
    listener = bind(host, port, flag)
    if config.auth is None and not ip_address(listener.getsockname()[0]).is_loopback:
        listener.close()
        raise OpenToAnyone(host=host, flag=flag.replace("port", "host"))
    return listener


def _run(main: Callable[[], Coroutine[Any, Any, int | None]]) -> int:
    """Run the event loop; turn what ends it into an exit status and one clear log line."""
    import uvloop

    status = 0
    if not may_begin():
        return status
    keep_memory()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            status = runner.run(main()) or 0
    except* JournalDamaged as group:
        _log.error("%s", _only(group).explained())
        status = EXIT_DAMAGED
    except* AuditFlowError as group:
        raise _only(group) from None
    return status


def _only(group: BaseExceptionGroup[AuditFlowError]) -> AuditFlowError:
    error = group.exceptions[0]
    return _only(error) if isinstance(error, BaseExceptionGroup) else error
