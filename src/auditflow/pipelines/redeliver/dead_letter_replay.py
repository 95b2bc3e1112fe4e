"""Delivers dead letters anew, for one pipeline, beside its other work and one request at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from typing import Final

import msgspec

from auditflow.ledger import Account, Handed, Ledger, Letter, Replayed
from auditflow.pipelines.decide.decision import TRANSFORM_FAILED, Decide, Decided
from auditflow.pipelines.deliver.batch import Packer, Parcel
from auditflow.pipelines.deliver.dispatcher import Brought, Courier, Outlet
from auditflow.pipelines.deliver.pause_gate import Stopped
from auditflow.pipelines.deliver.rate_limiter import PORTION_SECONDS
from auditflow.pipelines.record.outcomes import Record
from auditflow.pipelines.record.recorder import Recorder
from auditflow.pipelines.redeliver.redelivery import Errand
from auditflow.plugin_call import in_own_thread
from auditflow.sinks._base import Outcome

READ_LETTERS: Final = 1_000


class Replays(Errand):
    """Letters on their way to one pipeline's destination. Whoever replays has chosen: conditions do not count."""

    def __init__(
        self, ledger: Ledger, decide: Decide, outlet: Outlet, record: Record, recorder: Recorder
    ) -> None:
        super().__init__(replace(outlet, fallback=None), record)
        self._ledger = ledger
        self._decide = replace(decide, takes=None)
        self._book = LetterBook(record, recorder)
        self._courier = Courier(self._outlet, self._book)
        self._recorder = recorder

    @staticmethod
    def due(account: Account) -> bool:
        """Tell whether letters are to be delivered anew."""
        return account.to_replay

    async def _all(self) -> None:
        after = 0
        while letters := await asyncio.to_thread(
            self._ledger.to_replay, self._record.pipeline, after, READ_LETTERS
        ):
            after = letters[-1].id
            for rate, group in groupby(letters, attrgetter("rate")):
                await self._deliver(list(group), rate)
        await self._record.written(self._outlet.gate)  # they would be found again

    async def _deliver(self, letters: list[Letter], rate: float) -> None:
        for some in _portions(letters, max(1, int(rate * PORTION_SECONDS)) if rate else len(letters)):
            await self._writable()
            await self._send(some)
            await self._outlet.gate.wait(len(some) / rate if rate else 0.0)

    async def _send(self, letters: Sequence[Letter]) -> None:
        ids, events = [letter.id for letter in letters], [letter.event for letter in letters]
        decided = await in_own_thread(self._decide, ids, events)
        self._book.ended_here(decided)
        self._courier.fanout.expect(decided.sequences)
        packer = Packer(self._outlet.limits)
        full = packer.add(decided, letters[0].replayed_at)
        for parcel in [*full, packer.take()]:
            await self._courier.deliver(parcel)
        if self._outlet.gate.stopped:
            raise Stopped


class LetterBook:
    """Where the courier of replayed letters writes: an event's number is its letter's id."""

    def __init__(self, record: Record, recorder: Recorder) -> None:
        self._record = record
        self._recorder = recorder

    def now(self) -> int:
        """Give Unix time in milliseconds."""
        return self._record.now()

    def settled(
        self,
        delivered: Sequence[Brought],
        letters: list[Letter],
        *,
        attempts: int,
        calls: int,
        duplicates: int,
    ) -> None:
        """Settle what `calls` more calls of a sink have brought to an end, at its `attempts`-th attempt."""
        self._record.settled([], [], attempts=attempts, calls=calls, duplicates=duplicates)
        handed = [
            Handed(brought.sequences, msgspec.json.encode(brought.place).decode(), self.now(), attempts)
            for brought in delivered
        ]
        self._recorder.replayed(Replayed(delivered=handed, failed=letters))

    def undeliverable(self, parcel: Parcel, i: int, rejection: Outcome) -> Letter:
        """Write why a letter has failed again."""
        return replace(self._record.undeliverable(parcel, i, rejection), id=parcel.sequences[i])

    def ended_here(self, decided: Decided) -> None:
        """Settle the letters that end before the sink."""
        failed = [
            replace(self._record.letter(number, TRANSFORM_FAILED, reason, event), id=number)
            for number, event, reason in decided.failed
        ]
        if decided.filtered or failed:
            self._recorder.replayed(Replayed(filtered=decided.filtered, failed=failed))

    def trouble(self, key: object, trouble: Outcome | None) -> None:
        """Keep what hinders one parcel now, or that nothing does, for status."""
        self._record.trouble(key, trouble)

    def aside(self, trouble: Outcome | None) -> None:
        """Do nothing: letters do not go to the fallback."""


def _portions(letters: list[Letter], size: int) -> Iterator[list[Letter]]:
    for start in range(0, len(letters), size):
        yield letters[start : start + size]
