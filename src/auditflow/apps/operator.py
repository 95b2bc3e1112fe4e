"""Carries out what operators ask of the delivery process: pausing pipelines, replaying and purging dead letters."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from auditflow.errors import CommandRefused
from auditflow.journal import Account, Ledger, Replay, Selection
from auditflow.journal.commands import Commands, Values

LOOK_SECONDS: Final = 0.1


class Operator:
    """Changes the ledger as commands say, and lets the pipelines know: `changed` gets the accounts after that."""

    def __init__(self, commands: Commands, ledger: Ledger, changed: Callable[[list[Account]], None]) -> None:
        self._commands = commands
        self._ledger = ledger
        self._changed = changed

    async def run(self) -> None:
        """Look for commands until cancelled. Raises JournalDamaged."""
        while True:
            if await asyncio.to_thread(self._commands.carry_out, self.carry_out):
                self._changed(await asyncio.to_thread(self._ledger.accounts))
            await asyncio.sleep(LOOK_SECONDS)

    def carry_out(self, name: str, values: Values) -> Values:
        """Do what one command says. Raises CommandRefused, JournalUnavailable, JournalDamaged."""
        match name:
            case "pause" | "resume":
                return self._pause(values["pipeline"], paused=name == "pause")
            case "replay":
                return self._replay(_selection(values), Replay(**values["replay"]))
            case "purge":
                return {"purged": self._ledger.purge(_selection(values))}
        raise CommandRefused(reason=f"there is no command {name!r}", status=400)

    def _pause(self, pipeline: str, *, paused: bool) -> Values:
        self._running(pipeline)
        self._ledger.pause(pipeline, paused=paused)
        return {"pipeline": pipeline, "paused": paused}

    def _replay(self, selection: Selection, replay: Replay) -> Values:
        deliverer = replay.to or selection.pipeline
        if deliverer is not None:
            self._running(deliverer)
        return {"replayed": self._ledger.replay(selection, replay, int(time.time() * 1000))}

    def _running(self, pipeline: str) -> None:
        names = [account.pipeline for account in self._ledger.accounts() if account.active]
        if pipeline not in names:
            known = ", ".join(names) or "none"
            raise CommandRefused(
                reason=f"No pipeline named {pipeline!r} runs; those that do: {known}", status=404
            )


def _selection(values: Values) -> Selection:
    chosen: dict[str, Any] = values["selection"]
    return Selection(**chosen)
