"""One pipeline: read, decide, deliver, record. Every event ends delivered, filtered or dead-lettered."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from auditflow.errors import JournalDamaged
from auditflow.pipelines.decide.decision import Decide
from auditflow.pipelines.decide.intake import Intake
from auditflow.pipelines.deliver.batch import Parcel
from auditflow.pipelines.deliver.destination import pause
from auditflow.pipelines.deliver.dispatcher import Courier, Outlet
from auditflow.pipelines.deliver.pause_gate import Stopped
from auditflow.pipelines.read.tail import Source
from auditflow.pipelines.record.outcomes import Record
from auditflow.sinks._base import Outcome, Verdict

_log = logging.getLogger(__name__)


class Pipeline:
    """A pipeline at work. `run` ends with its source, or when its outlet was stopped and open calls are done."""

    def __init__(self, source: Source, decide: Decide, outlet: Outlet, record: Record) -> None:
        self._source = source
        self._decide = decide
        self._outlet = outlet
        self._record = record

    async def run(self) -> None:
        """Work until stopped. A fault of ours is logged and shown; work begins again from what is recorded.

        Raises JournalDamaged, in a group.
        """
        failures = 0
        while not (self._outlet.gate.stopped or self._source.ended()):
            self._record.trouble(self, None)
            try:
                await self._work()
            except* JournalDamaged:
                raise  # to work on needs a restart of the process
            except* Exception as group:  # noqa: BLE001 - one pipeline's fault must not end the others
                failures += 1
                error = group.exceptions[0]
                _log.error("pipeline %s failed and starts again", self._record.pipeline, exc_info=error)
                reason = f"{type(error).__name__}: {error}"
                self._record.trouble(self, Outcome(Verdict.RETRY, "INTERNAL_ERROR", reason))
                with suppress(Stopped):
                    await self._outlet.gate.wait(pause(failures, 1.0))

    async def _work(self) -> None:
        outlet = self._outlet
        courier = Courier(outlet, self._record)
        intake = Intake(self._source, outlet.gate, self._decide, self._record, courier.fanout)
        slots = asyncio.Semaphore(1 if outlet.destination.sink.ordered else outlet.policy.max_in_flight)

        async def deliver(parcel: Parcel) -> None:
            try:
                await courier.deliver(parcel)
            finally:
                intake.advanced.set()
                slots.release()

        async with asyncio.TaskGroup() as tasks:
            with suppress(Stopped):
                async for parcel in intake.parcels(outlet.limits):
                    await slots.acquire()
                    tasks.create_task(deliver(parcel))
                    del parcel  # see Intake
