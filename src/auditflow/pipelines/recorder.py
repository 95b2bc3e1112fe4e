"""Writes what became of events to the ledger: the changes of all pipelines in one transaction, again and again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from auditflow.errors import JournalUnavailable
from auditflow.journal import Ledger, Replayed, Update

GATHER_SECONDS: Final = 0.02
"""Changes of this time share a transaction; after a crash at most this much is delivered again."""
RETRY_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


class Recorder:
    """Collects updates and commits them. The only writer of the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._updates: dict[str, Update] = {}
        self._replayed = Replayed()
        self.replays_open = False
        """Whether what has become of some replayed letters is not in the ledger yet."""
        self._notes: dict[str, str] = {}
        self._dirty = asyncio.Event()
        self._writable = True
        self._failure: Exception | None = None
        self._writer = ThreadPoolExecutor(
            1, "ledger-writer"
        )  # its own: others may be held by slow transformers
        self._stopping = False

    def add(self, update: Update) -> None:
        """Take note of a change. Its progress is the pipeline's live object: what it says at commit is written."""
        present = self._updates.setdefault(update.pipeline, update)
        if present is not update:
            present.add(update)
        self._dirty.set()

    def replayed(self, replayed: Replayed) -> None:
        """Take note of what has become of letters that were replayed."""
        self.replays_open = True
        self._replayed.add(replayed)
        self._dirty.set()

    def note(self, pipeline: str, condition: str) -> None:
        """Take note of what status shows of a pipeline."""
        self._notes[pipeline] = condition
        self._dirty.set()

    def writable(self) -> bool:
        """Tell whether the ledger can be written: what cannot be recorded must not be delivered.

        Raises what ended `run`.
        """
        if self._failure is not None:
            raise self._failure
        return self._writable

    async def run(self) -> None:
        """Commit until stopped, and what is left then. Raises JournalDamaged."""
        try:
            await self._work()
        except Exception as error:
            self._failure = error
            raise

    async def _work(self) -> None:
        while not self._stopping or self._updates or self._replayed or self._notes:
            await self._dirty.wait()
            if await self._commit():
                await asyncio.sleep(0 if self._stopping else GATHER_SECONDS)
            elif self._stopping:
                return  # what could not be recorded is delivered again after the next start
            else:
                await asyncio.sleep(RETRY_SECONDS)

    def stop(self) -> None:
        """Let `run` end once everything is committed."""
        self._stopping = True
        self._dirty.set()

    async def _commit(self) -> bool:
        updates, replayed, notes = list(self._updates.values()), self._replayed, dict(self._notes)
        self._dirty.clear()
        # the pipelines go on changing their progress while the commit runs
        written = [replace(update, progress=update.progress.copy()) for update in updates]
        self._updates.clear()
        self._replayed = Replayed()
        self._notes.clear()
        try:
            if written or replayed:
                await self._in_thread(self._ledger.commit, written, replayed)
            updates, replayed = [], Replayed()  # they are counted, whatever becomes of the notes
            self.replays_open = bool(self._replayed)
            for pipeline, condition in notes.items():
                await self._in_thread(self._ledger.note, pipeline, condition)
        except JournalUnavailable as error:
            _log.error("outcomes cannot be recorded, deliveries wait: %s", error.explained())
            self._restore(updates, replayed, notes)
            self._writable = False
            return False
        self._writable = True
        return True

    async def _in_thread(self, write: Callable[..., None], *arguments: object) -> None:
        await asyncio.get_running_loop().run_in_executor(self._writer, write, *arguments)

    def _restore(self, updates: list[Update], replayed: Replayed, notes: dict[str, str]) -> None:
        """Put back what could not be written, under what has come since."""
        for update in updates:
            self.add(update)
        self._replayed.add(replayed)
        self._notes = notes | self._notes
        self._dirty.set()
