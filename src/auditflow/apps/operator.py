"""Carries out what operators ask of the delivery process: pausing, replaying, purging, reloading."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from auditflow.errors import CommandRefused, ConfigError
from auditflow.journal import Journal
from auditflow.ledger import Account, Ledger, Replay, Selection
from auditflow.ledger.commands import Commands, Values, no_such_pipeline
from auditflow.ledger.inactive import pending_when_inactive
from auditflow.ledger.tenant_counts import others

LOOK_SECONDS: Final = 0.1


class Operator:
    """Changes the ledger as commands say, and lets the pipelines know: `changed` gets the accounts after that."""

    def __init__(
        self,
        commands: Commands,
        journal: Journal,
        ledger: Ledger,
        changed: Callable[[list[Account]], None],
        reload: Callable[[], Coroutine[Any, Any, list[str]]],
    ) -> None:
        self._commands = commands
        self._journal = journal
        self._ledger = ledger
        self._changed = changed
        self._reload = reload
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Look for commands until cancelled. Raises JournalDamaged."""
        while True:
            if self._commands.waiting() and await self._carried_out():
                self._changed(await asyncio.to_thread(self._ledger.accounts))
            await asyncio.sleep(LOOK_SECONDS)

    async def _carried_out(self) -> int:
        return await asyncio.to_thread(self._commands.carry_out, self.carry_out)

    def carry_out(self, name: str, values: Values) -> Values:
        """Do what one command says. Raises CommandRefused, JournalUnavailable, JournalDamaged."""
        match name:
            case "pause" | "resume":
                return self._pause(values["pipeline"], paused=name == "pause")
            case "forget":
                return self._forget(values["pipeline"])
            case "replay":
                return self._replay(_selection(values), _replay(values["replay"]))
            case "deliver-again":
                return self._deliver_again(**values)
            case "reload":
                return {"changed": self._reloaded()}
            case "purge":
                return {"purged": self._ledger.purge(_selection(values))}
        raise CommandRefused(reason=f"there is no command {name!r}", status=400)

    def _pause(self, pipeline: str, *, paused: bool) -> Values:
        self._running(pipeline)
        self._ledger.pause(pipeline, paused=paused)
        return {"pipeline": pipeline, "paused": paused}

    def _forget(self, pipeline: str) -> Values:
        accounts = {account.pipeline: account for account in self._ledger.accounts()}
        account = accounts.get(pipeline)
        if account is None:
            raise CommandRefused(reason=f"no pipeline named {pipeline!r} has an account", status=404)
        if account.active:
            reason = f"pipeline {pipeline} runs; disable it or take it out of the configuration first"
            raise CommandRefused(reason=reason, status=409)
        events = 0
        if account.owed_until is not None:
            events = pending_when_inactive(self._journal, account, account.owed_until)
        self._ledger.forget(pipeline)
        return {"pipeline": pipeline, "events": events}

    def _replay(self, selection: Selection, replay: Replay) -> Values:
        deliverer = replay.to or selection.pipeline
        if deliverer is not None:
            self._running(deliverer)
        return {"replayed": self._ledger.replay(selection, replay, int(time.time() * 1000))}

    def _deliver_again(self, pipeline: str, since: int, until: int, asked: str) -> Values:
        tenant = self._running(pipeline).tenant
        stretch = self._journal.between(since, until)
        foreign = others(self._journal, tenant, stretch)
        if len(stretch) > foreign:
            self._ledger.deliver_again(pipeline, stretch.start, stretch.stop, asked, foreign)
        return {"pipeline": pipeline, "events": len(stretch) - foreign}

    def _reloaded(self) -> list[str]:
        """Reload on the event loop: commands are carried out beside it."""
        try:
            return asyncio.run_coroutine_threadsafe(self._reload(), self._loop).result()
        except ConfigError as error:
            raise CommandRefused(reason=f"The configuration stays as it was:\n{error}", status=409) from None

    def _running(self, pipeline: str) -> Account:
        running = {account.pipeline: account for account in self._ledger.accounts() if account.active}
        if pipeline not in running:
            raise CommandRefused(reason=no_such_pipeline(pipeline, running), status=404)
        return running[pipeline]


def _replay(asked: dict[str, Any]) -> Replay:
    """Read what a command asks for; in JSON, an edited event is a text."""
    event = asked.get("event")
    return Replay(**asked | {"event": None if event is None else event.encode()})


def _selection(values: Values) -> Selection:
    chosen: dict[str, Any] = values["selection"]
    return Selection(**chosen)
