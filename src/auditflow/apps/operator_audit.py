"""Puts on record what operators do and whom a process refuses, and brings that record into the journal."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from auditflow.apps.data_directory import DataDirectory
from auditflow.config import Config
from auditflow.errors import AuditFlowError, CommandRefused, JournalUnavailable, TenantRefused
from auditflow.ingest.auth import Authenticator, authenticator_of
from auditflow.ingest.operator_audit import ITSELF, OperatorAudit
from auditflow.ingest.publish import Publish, correlation
from auditflow.ingest.stamp import Stamp, now_rfc3339
from auditflow.ledger.commands import CarryOut, Commands, Values

LOOK_SECONDS: Final = 0.5
MOST_REFUSALS: Final = 10_000
"""While so many events wait, refused calls are only counted and logged: strangers must not fill the disk."""

TYPES: Final = {
    "pause": "pipelines.paused",
    "resume": "pipelines.resumed",
    "forget": "pipelines.forgotten",
    "replay": "dead-letters.replayed",
    "purge": "dead-letters.purged",
    "deliver-again": "journal.replayed",
    "reload": "configuration.reloaded",
}
"""Of commands: the rest of their event's type."""

EDITED: Final = "dead-letters.edited"
"""Of a replay of one dead letter with another content."""

_log = logging.getLogger(__name__)


class AuditedCommands(Commands):
    """Commands that are put on record when they have been carried out, or refused."""

    def __init__(self, folder: Path, own: OperatorAudit) -> None:
        super().__init__(folder)
        self._own = own

    def carry_out(self, carry_out: CarryOut) -> int:
        """Do as `Commands` does. What a command says of who has left it is for the record alone."""

        def recorded(name: str, values: Values) -> Values:
            by = values.pop("by", ITSELF)
            what = EDITED if values.get("replay", {}).get("event") else TYPES.get(name, name)
            try:
                result = carry_out(name, values)
            except (CommandRefused, JournalUnavailable) as error:
                self._own.note(what, by, outcome="refused", reason=str(error), **_asked(values))
                raise
            self._own.note(what, by, outcome="success", **_asked(values), **_done(result))
            return result

        return super().carry_out(recorded)


def _asked(values: Values) -> dict[str, Any]:
    """Say what was asked, without the content of events."""
    how = {
        name: value for name, value in values.get("replay", {}).items() if name in {"to", "rate"} and value
    }
    named = {name: values[name] for name in ("selection", "pipeline", "since", "until") if name in values}
    return named | how


def _done(result: Values) -> dict[str, Any]:
    counts = [result[name] for name in ("replayed", "purged", "events") if name in result]
    return {"count": counts[0] if counts else None, "changed": result.get("changed")}


def operator_audit_of(config: Config, directory: DataDirectory) -> OperatorAudit:
    """Give where this installation's own audit is left.

    There is one where callers are told apart or tenants are. Without either, anybody on this machine may do anything, and
    the pipelines take every event there is: what they deliver is then to be what was published.
    """
    return OperatorAudit(directory.path, kept=config.auth is not None or config.tenants is not None)


def authenticating(config: Config, directory: DataDirectory) -> Authenticator | None:
    """Give what the configuration lets callers in by, if anything; whom it refuses is put on record."""
    authenticator = authenticator_of(config.auth, directory.keys)
    if authenticator:
        authenticator.on_refused = refusals(OperatorAudit(directory.path))
    return authenticator


def refusals(own: OperatorAudit) -> Callable[[str, str], None]:
    """Give what puts refused calls on record, by reason and peer, without keeping the event loop waiting for the disk."""
    loop = asyncio.get_running_loop()

    def note(reason: str, peer: str) -> None:
        if own.count() < MOST_REFUSALS:
            own.note("calls.refused", {"actor": None, "peer": peer}, outcome="refused", reason=reason)

    return lambda reason, peer: (loop.run_in_executor(None, note, reason, peer), None)[1]


def places(config: Config, directory: DataDirectory) -> list[OperatorAudit]:
    """Give where events wait: `auditflow keys` leaves its own beside the file of keys."""
    keys = config.auth.api_keys.file if config.auth and config.auth.api_keys else None
    return [OperatorAudit(directory.path), *([OperatorAudit(keys.parent)] if keys else [])]


async def keep(waiting: Sequence[OperatorAudit], publish: Publish) -> None:
    """Take the events in as publishing does, and drop their files, until cancelled."""
    while True:
        for own in waiting:
            files = await asyncio.to_thread(own.waiting)
            if files:
                await _take_in(files, publish)
        await asyncio.sleep(LOOK_SECONDS)


async def _take_in(files: dict[Path, bytes], publish: Publish) -> None:
    """Append events: once each, since the journal knows those again that a crash has left here.

    They wait while the journal takes none; one that can never be taken in is set aside.
    """
    stamp = Stamp(now_rfc3339(), correlation(b""), own=True)
    try:
        decoded, _ = await publish.accept(list(files.values()), stamp)
    except AuditFlowError as error:
        _log.error("%d events of own audit wait: %s", len(files), error.explained())
        return
    paths = list(files)
    rejected = {paths[each.index]: each.error for each in decoded.rejected}
    for path in files.keys() - rejected.keys():
        path.unlink(missing_ok=True)
    for path, reason in rejected.items():
        if not isinstance(reason, TenantRefused):
            _log.error("an event of own audit is set aside: %s: %s", path, reason)
            path.rename(path.with_suffix(".refused"))
