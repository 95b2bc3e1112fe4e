"""Delivers dead letters again, for one pipeline, beside its other work and one request at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from typing import Final

from auditflow.ledger import Account, DeadLetter, Handed, Ledger, Replayed
from auditflow.ledger.receipts import place_text
from auditflow.pipelines.decide.decision import TRANSFORM_FAILED, Decide, Decided
from auditflow.pipelines.deliver.batch import Batch, Batcher
from auditflow.pipelines.deliver.dispatcher import DeliveryTarget, Dispatcher
from auditflow.pipelines.deliver.outcome_log import Settlement
from auditflow.pipelines.deliver.pause_gate import Stopped
from auditflow.pipelines.deliver.rate_limiter import PORTION_SECONDS
from auditflow.pipelines.record.outcomes import PipelineOutcomes
from auditflow.pipelines.record.recorder import Recorder
from auditflow.pipelines.redeliver.redelivery import Redelivery
from auditflow.plugin_call import in_own_thread
from auditflow.sinks._base import Outcome

READ_LETTERS: Final = 1_000


class DeadLetterReplay(Redelivery):
    """Letters on their way to one pipeline's destination. Whoever replays has chosen: conditions do not count."""

    def __init__(
        self,
        ledger: Ledger,
        decide: Decide,
        target: DeliveryTarget,
        record: PipelineOutcomes,
        recorder: Recorder,
    ) -> None:
        super().__init__(replace(target, fallback=None), record)
        self._ledger = ledger
        self._decide = replace(decide, takes=None)
        self._log = DeadLetterOutcomes(record, recorder)
        self._dispatcher = Dispatcher(self._target, self._log)
        self._recorder = recorder

    @staticmethod
    def due(account: Account) -> bool:
        """Tell whether dead letters are to be delivered again."""
        return account.to_replay

    async def _all(self) -> None:
        after = 0
        while letters := await asyncio.to_thread(
            self._ledger.to_replay, self._record.pipeline, after, READ_LETTERS
        ):
            after = letters[-1].id
            for rate, group in groupby(letters, attrgetter("rate")):
                await self._deliver(list(group), rate)
        await self._record.written(self._target.gate)  # they would be found again

    async def _deliver(self, letters: list[DeadLetter], rate: float) -> None:
        for some in _slices(letters, max(1, int(rate * PORTION_SECONDS)) if rate else len(letters)):
            await self._writable()
            await self._send(some)
            await self._target.gate.wait(len(some) / rate if rate else 0.0)

    async def _send(self, letters: Sequence[DeadLetter]) -> None:
        ids, events = [letter.id for letter in letters], [letter.event for letter in letters]
        decided = await in_own_thread(self._decide, ids, events)
        self._log.ended_here(decided)
        self._dispatcher.fanout.expect(decided.sequences)
        batcher = Batcher(self._target.limits)
        full = batcher.add(decided, letters[0].replayed_at)
        for batch in [*full, batcher.take()]:
            await self._dispatcher.deliver(batch)
        if self._target.gate.stopped:
            raise Stopped


class DeadLetterOutcomes:
    """Where the dispatcher of replayed dead letters writes: an event's number is its dead letter's id."""

    def __init__(self, record: PipelineOutcomes, recorder: Recorder) -> None:
        self._record = record
        self._recorder = recorder

    def aging_now(self) -> int:
        """Give the time by which events are given up for their age, in milliseconds."""
        return self._record.aging_now()

    def now(self) -> int:
        """Give Unix time in milliseconds."""
        return self._record.now()

    def settled(self, settlement: Settlement) -> None:
        """Settle the dead letters that further calls have brought to an end."""
        self._record.settled(replace(settlement, delivered=(), letters=[]))
        handed = [
            Handed(each.sequences, place_text(each.place), self.now(), settlement.attempts)
            for each in settlement.delivered
        ]
        self._recorder.replayed(Replayed(delivered=handed, failed=settlement.letters))

    def undeliverable(self, batch: Batch, i: int, rejection: Outcome) -> DeadLetter:
        """Write why a dead letter has failed again."""
        return replace(self._record.undeliverable(batch, i, rejection), id=batch.sequences[i])

    def ended_here(self, decided: Decided) -> None:
        """Settle the dead letters that end before the sink."""
        failed = [
            replace(self._record.letter(number, TRANSFORM_FAILED, reason, event), id=number)
            for number, event, reason in decided.failed
        ]
        if decided.filtered or failed:
            self._recorder.replayed(Replayed(filtered=decided.filtered, failed=failed))

    def problem(self, key: object, problem: Outcome | None) -> None:
        """Keep what hinders one batch now, or that nothing does, for status."""
        self._record.problem(key, problem)

    def aside(self, problem: Outcome | None) -> None:
        """Do nothing: dead letters do not go to the fallback."""


def _slices(letters: list[DeadLetter], size: int) -> Iterator[list[DeadLetter]]:
    for start in range(0, len(letters), size):
        yield letters[start : start + size]
