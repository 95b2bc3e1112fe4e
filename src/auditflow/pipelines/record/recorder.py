"""Writes what became of events to the ledger: the changes of all pipelines in one transaction, again and again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from auditflow.errors import JournalUnavailable
from auditflow.ledger import Ledger, Replayed, Update
from auditflow.pipelines.deliver.pause_gate import PauseGate

GATHER_SECONDS: Final = 0.02
"""Changes of this time share a transaction; after a crash at most this much is delivered again."""
UPDATE_SECONDS: Final = 0.0005
"""Rest after a transaction for each pipeline that was in it: writing takes a fraction of the time."""
GATHER_MOST_SECONDS: Final = 0.5
RETRY_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Commit:
    """The changes of one transaction."""

    updates: list[Update]
    replayed: Replayed
    token: bytes
    """Names it, so that it is not applied a second time when it is there although it seemed to fail."""
    added: int
    """How many changes had been added when it was made."""


class Recorder:
    """Collects updates and commits them. The only writer of the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._updates: dict[tuple[str, int], Update] = {}
        self._replayed = Replayed()
        self._batch: Commit | None = None
        self._added = self._written = 0
        """How many changes were added, and how many of them are in the ledger."""
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
        present = self._updates.setdefault((update.pipeline, update.replay_range), update)
        if present is not update:
            present.add(update)
        self._added += 1
        self._dirty.set()

    def replayed(self, replayed: Replayed) -> None:
        """Take note of what has become of dead letters that were replayed."""
        self._replayed.add(replayed)
        self._added += 1
        self._dirty.set()

    def note(self, pipeline: str, condition: str) -> None:
        """Take note of what status shows of a pipeline."""
        self._notes[pipeline] = condition
        self._dirty.set()

    async def written(self, gate: PauseGate) -> None:
        """Wait until all that was added before is in the ledger. Raises Stopped."""
        added = self._added  # others go on adding
        while self._written < added:
            await gate.wait(GATHER_SECONDS)

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
        while not self._stopping or self._written < self._added or self._notes:
            await self._dirty.wait()
            pipelines = len(self._updates)
            if await self._commit():
                rest = min(max(GATHER_SECONDS, UPDATE_SECONDS * pipelines), GATHER_MOST_SECONDS)
                await asyncio.sleep(0 if self._stopping else rest)
            elif self._stopping:
                return  # what could not be recorded is delivered again after the next start
            else:
                await asyncio.sleep(RETRY_SECONDS)

    def stop(self) -> None:
        """Let `run` end once everything is committed."""
        self._stopping = True
        self._dirty.set()

    async def _commit(self) -> bool:
        self._dirty.clear()
        batch = self._batch = self._batch or self._gather()
        notes, self._notes = self._notes, {}
        try:
            if batch is not None:
                await self._in_thread(self._ledger.commit, batch.updates, batch.replayed, batch.token)
                self._batch = None
                self._written = batch.added
                if self._written < self._added:
                    self._dirty.set()
            if notes:
                await self._in_thread(self._ledger.note, notes)
        except JournalUnavailable as error:
            _log.error("outcomes cannot be recorded, deliveries wait: %s", error.explained())
            self._notes = notes | self._notes
            self._dirty.set()
            self._writable = False
            return False
        self._writable = True
        return True

    def _gather(self) -> Commit | None:
        """Take what has been added as one batch. It is committed unchanged, however often that takes."""
        if not self._updates and not self._replayed:
            return None
        # the pipelines go on changing their progress while the commit runs
        updates = [update.as_it_is() for update in self._updates.values()]
        batch = Commit(updates, self._replayed, uuid4().bytes, self._added)
        self._updates, self._replayed = {}, Replayed()
        return batch

    async def _in_thread(self, write: Callable[..., None], *arguments: object) -> None:
        await asyncio.get_running_loop().run_in_executor(self._writer, write, *arguments)
