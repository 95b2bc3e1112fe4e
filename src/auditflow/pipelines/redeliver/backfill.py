"""Brings to the first destination what only the fallback has, as soon as it works again."""
# Tested in tests/pipelines/deliver/test_fallback.py.

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from auditflow.ledger import LOST, Account, DeadLetter, Ledger, Receipt
from auditflow.pipelines.decide.decision import TRANSFORM_FAILED, Decide, Decided
from auditflow.pipelines.deliver.batch import Batch, Batcher
from auditflow.pipelines.deliver.dispatcher import DeliveryTarget, Dispatcher
from auditflow.pipelines.deliver.outcome_log import Delivered, Settlement
from auditflow.pipelines.deliver.pause_gate import Stopped
from auditflow.pipelines.read.tail import TailReader
from auditflow.pipelines.record.outcomes import PipelineOutcomes
from auditflow.pipelines.redeliver.redelivery import Redelivery
from auditflow.plugin_call import in_own_thread
from auditflow.sinks._base import Outcome

TOGETHER: Final = 10_000
"""Events of so many are read and delivered together, whichever receipts they are of: they share blocks."""


class Backfill(Redelivery):
    """Pays what a pipeline owes, from the receipts of its fallback. A debt is paid whole or, after a crash, again."""

    def __init__(
        self,
        ledger: Ledger,
        tail: TailReader,
        decide: Decide,
        target: DeliveryTarget,
        record: PipelineOutcomes,
    ) -> None:
        super().__init__(replace(target, fallback=None), record)
        self._ledger = ledger
        self._tail = tail
        # what the fallback has was taken by condition and sampling already
        self._decide = replace(decide, takes=None)

    @staticmethod
    def due(account: Account) -> bool:
        """Tell whether the first destination is to get something, too."""
        return account.owed > 0

    async def _all(self) -> None:
        while owed := await asyncio.to_thread(self._ledger.owed, self._record.pipeline):
            for some in _together(owed):
                await self._writable()
                await self._pay(some)
            await self._record.written(self._target.gate)

    async def _pay(self, receipts: Sequence[Receipt]) -> None:
        log = BackfillOutcomes(self._record)
        dispatcher = Dispatcher(self._target, log)
        batcher = Batcher(self._target.limits)
        async for decided, accepted_at in self._decided(receipts, log):
            dispatcher.fanout.expect(decided.sequences)
            for full in batcher.add(decided, accepted_at):
                await dispatcher.deliver(full)
        await dispatcher.deliver(batcher.take())
        if self._target.gate.stopped:
            raise Stopped
        self._record.backfilled(log.delivered, log.letters, receipts, log.attempts)

    async def _decided(
        self, receipts: Sequence[Receipt], log: BackfillOutcomes
    ) -> AsyncIterator[tuple[Decided, int]]:
        """Read the events of the receipts and transform them; with each block's, when it was appended."""
        wanted = sorted({sequence for receipt in receipts for sequence in receipt.sequences()})
        while wanted:
            blocks = await self._tail.read(wanted[0])
            for block in blocks:
                start, end = bisect_left(wanted, block.first), bisect_left(wanted, block.end)
                sequences = wanted[start:end]
                log.lost(wanted[:start] + (sequences if block.damage else []))
                del wanted[:end]
                if sequences and not block.damage:
                    events = [block.events[sequence - block.first] for sequence in sequences]
                    decided = await in_own_thread(self._decide, sequences, events)
                    log.failed(decided)
                    yield decided, block.appended_at
            if not blocks:
                log.lost(wanted)
                return


@dataclass(slots=True)
class BackfillOutcomes:
    """Where the dispatcher of what is owed writes. It keeps all until the debt is paid as one."""

    record: PipelineOutcomes
    delivered: list[Delivered] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    attempts: int = 0

    def aging_now(self) -> int:
        """Give the time by which events are given up for their age, in milliseconds."""
        return self.record.aging_now()

    def now(self) -> int:
        """Give Unix time in milliseconds."""
        return self.record.now()

    def settled(self, settlement: Settlement) -> None:
        """Keep what further calls have brought to an end."""
        self.record.settled(replace(settlement, delivered=(), letters=[]))
        self.delivered += settlement.delivered
        self.letters += settlement.letters
        self.attempts = max(self.attempts, settlement.attempts)

    def undeliverable(self, batch: Batch, i: int, rejection: Outcome) -> DeadLetter:
        """Write a dead letter of an event that the first destination will not have."""
        return self.record.undeliverable(batch, i, rejection)

    def failed(self, decided: Decided) -> None:
        """Keep what a transformer refuses now."""
        self.letters += [
            self.record.letter(sequence, TRANSFORM_FAILED, reason, event)
            for sequence, event, reason in decided.failed
        ]

    def lost(self, sequences: Sequence[int]) -> None:
        """Keep that the journal cannot give these events any more; the fallback has them."""
        reason = "the journal no longer holds this event; the fallback has it"
        self.letters += [self.record.letter(sequence, LOST, reason) for sequence in sequences]

    def problem(self, key: object, problem: Outcome | None) -> None:  # noqa: ARG002 - one thing at a time
        """Keep what hinders the first destination: only the fallback has these events."""
        self.record.aside(problem)

    def aside(self, problem: Outcome | None) -> None:
        """Do nothing: what is owed does not go to the fallback."""


def _together(receipts: Sequence[Receipt]) -> list[list[Receipt]]:
    """Group receipts in order, so that each group has a request's worth of events."""
    groups: list[list[Receipt]] = [[]]
    owed = 0
    for receipt in receipts:
        if groups[-1] and owed + receipt.owed > TOGETHER:
            groups.append([])
            owed = 0
        groups[-1].append(receipt)
        owed += receipt.owed
    return groups
