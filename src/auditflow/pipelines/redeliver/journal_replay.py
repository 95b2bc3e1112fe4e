"""Delivers stretches of the journal again, for one pipeline, beside what is new."""

from __future__ import annotations

import asyncio
from math import inf

from auditflow.ledger import Account, Lane, Ledger, Update
from auditflow.pipelines.decide.decision import Decide
from auditflow.pipelines.deliver.dispatcher import Outlet
from auditflow.pipelines.deliver.pause_gate import Gate, Stopped
from auditflow.pipelines.pipeline import Pipeline
from auditflow.pipelines.read.slice import Portion
from auditflow.pipelines.read.tail import Source
from auditflow.pipelines.record.outcomes import Record
from auditflow.pipelines.record.recorder import Recorder
from auditflow.pipelines.redeliver.redelivery import Errand
from auditflow.sinks._base import Outcome


class Again(Errand):
    """Works off the lanes of a pipeline, one after the other, each like the pipeline itself."""

    def __init__(  # noqa: PLR0913, PLR0917 - what a pipeline works with
        self,
        ledger: Ledger,
        source: Source,
        decide: Decide,
        outlet: Outlet,
        record: Record,
        recorder: Recorder,
    ) -> None:
        super().__init__(outlet, record)
        self._ledger = ledger
        self._source = source
        self._decide = decide
        self._recorder = recorder

    @staticmethod
    def due(account: Account) -> bool:
        """Tell whether there are lanes."""
        return bool(account.lanes)

    async def _all(self) -> None:
        while lane := await asyncio.to_thread(self._next):
            stretch = Stretch(self._source, lane)
            record = LaneRecord(self._record, lane, self._recorder, stretch)
            await Pipeline(stretch, self._decide, self._outlet, record).run()
            if self._outlet.gate.stopped:
                raise Stopped
            await self._record.written(self._outlet.gate)

    def _next(self) -> Lane | None:
        """Give the oldest lane."""
        accounts = (each for each in self._ledger.accounts() if each.pipeline == self._record.pipeline)
        return next((lane for account in accounts for lane in account.lanes), None)


class Stretch:
    """The part of the journal that a lane is of."""

    def __init__(self, source: Source, lane: Lane) -> None:
        self._source = source
        self._lane = lane
        self._end = asyncio.get_running_loop().create_future()
        self.advanced()

    async def next(self, start: int, gate: Gate, until: float = inf) -> list[Portion]:
        """Give portions of the stretch; beyond it, wait until all of it has ended. Raises Stopped, JournalDamaged."""
        end = self._lane.end
        if start >= end:
            await gate.wait(until - asyncio.get_running_loop().time(), self._end)
            return []
        found = await self._source.next(start, gate, until)
        within = [one.before(end) for one in found if not one.sequences or one.sequences[0] < end]
        return within or ([Portion(end)] if found else [])

    def ended(self) -> bool:
        """Tell whether every event of the stretch has come to its end."""
        return self._end.done()

    def advanced(self) -> None:
        """Look whether that is so now."""
        if not self._lane.pending and not self.ended():
            self._end.set_result(None)


class LaneRecord(Record):
    """What became of the events of a lane; what hinders them is shown as the pipeline's."""

    def __init__(self, of: Record, lane: Lane, recorder: Recorder, stretch: Stretch) -> None:
        super().__init__(of.pipeline, lane.progress, recorder, tenant=of.tenant, lane=lane.id)
        self._of = of
        self._stretch = stretch
        self.on_debt = of.on_debt

    def held(self) -> bool:
        """Tell whether no more events are to be taken."""
        return self._of.held()

    def trouble(self, key: object, trouble: Outcome | None) -> None:
        """Keep what hinders one part of the work now, or that nothing does."""
        self._of.trouble(key, trouble)

    def aside(self, trouble: Outcome | None) -> None:
        """Keep what makes events go to the fallback now, or that they do not."""
        self._of.aside(trouble)

    def _add(self, update: Update) -> None:
        super()._add(update)
        self._stretch.advanced()
