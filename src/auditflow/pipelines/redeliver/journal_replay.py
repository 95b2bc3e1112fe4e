"""Delivers stretches of the journal again, for one pipeline, beside what is new."""

from __future__ import annotations

import asyncio
from math import inf

from auditflow.ledger import Account, Ledger, ReplayRange, Update
from auditflow.pipelines.decide.decision import Decide
from auditflow.pipelines.deliver.dispatcher import DeliveryTarget
from auditflow.pipelines.deliver.pause_gate import PauseGate, Stopped
from auditflow.pipelines.pipeline import Pipeline
from auditflow.pipelines.read.slice import BlockSlice
from auditflow.pipelines.read.tail import Source
from auditflow.pipelines.record.outcomes import PipelineOutcomes
from auditflow.pipelines.record.recorder import Recorder
from auditflow.pipelines.redeliver.redelivery import Redelivery
from auditflow.sinks._base import Outcome


class JournalReplay(Redelivery):
    """Works off the replay ranges of a pipeline, one after the other, each like the pipeline itself."""

    def __init__(  # noqa: PLR0913, PLR0917 - what a pipeline works with
        self,
        ledger: Ledger,
        source: Source,
        decide: Decide,
        target: DeliveryTarget,
        record: PipelineOutcomes,
        recorder: Recorder,
    ) -> None:
        super().__init__(target, record)
        self._ledger = ledger
        self._source = source
        self._decide = decide
        self._recorder = recorder

    @staticmethod
    def due(account: Account) -> bool:
        """Tell whether there are replay_ranges."""
        return bool(account.replay_ranges)

    async def _all(self) -> None:
        while replay_range := await asyncio.to_thread(self._next):
            stretch = Stretch(self._source, replay_range)
            record = ReplayRangeOutcomes(self._record, replay_range, self._recorder, stretch)
            await Pipeline(stretch, self._decide, self._target, record).run()
            if self._target.gate.stopped:
                raise Stopped
            await self._record.written(self._target.gate)

    def _next(self) -> ReplayRange | None:
        """Give the oldest replay range."""
        accounts = (each for each in self._ledger.accounts() if each.pipeline == self._record.pipeline)
        return next((replay_range for account in accounts for replay_range in account.replay_ranges), None)


class Stretch:
    """The part of the journal that a replay range is of."""

    def __init__(self, source: Source, replay_range: ReplayRange) -> None:
        self._source = source
        self._replay_range = replay_range
        self._end = asyncio.get_running_loop().create_future()
        self.advanced()

    async def next(self, start: int, gate: PauseGate, until: float = inf) -> list[BlockSlice]:
        """Give slices of the stretch; beyond it, wait until all of it has ended. Raises Stopped, JournalDamaged."""
        end = self._replay_range.end
        if start >= end:
            await gate.wait(until - asyncio.get_running_loop().time(), self._end)
            return []
        found = await self._source.next(start, gate, until)
        within = [one.before(end) for one in found if not one.sequences or one.sequences[0] < end]
        return within or ([BlockSlice(end)] if found else [])

    def ended(self) -> bool:
        """Tell whether every event of the stretch has come to its end."""
        return self._end.done()

    def advanced(self) -> None:
        """Look whether that is so now."""
        if not self._replay_range.pending and not self.ended():
            self._end.set_result(None)


class ReplayRangeOutcomes(PipelineOutcomes):
    """What became of the events of a replay range; what hinders them is shown as the pipeline's."""

    def __init__(
        self, of: PipelineOutcomes, replay_range: ReplayRange, recorder: Recorder, stretch: Stretch
    ) -> None:
        super().__init__(
            of.pipeline, replay_range.progress, recorder, tenant=of.tenant, replay_range=replay_range.id
        )
        self._of = of
        self._stretch = stretch
        self.on_debt = of.on_debt

    def held(self) -> bool:
        """Tell whether no more events are to be taken."""
        return self._of.held()

    def problem(self, key: object, problem: Outcome | None) -> None:
        """Keep what hinders one part of the work now, or that nothing does."""
        self._of.problem(key, problem)

    def aside(self, problem: Outcome | None) -> None:
        """Keep what makes events go to the fallback now, or that they do not."""
        self._of.aside(problem)

    def _add(self, update: Update) -> None:
        super()._add(update)
        self._stretch.advanced()
