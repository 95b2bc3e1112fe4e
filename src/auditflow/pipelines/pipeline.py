"""One pipeline: read, decide, deliver, record. Every event ends delivered, filtered or dead-lettered."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from auditflow.errors import JournalDamaged
from auditflow.pipelines.decide.decision import Decide
from auditflow.pipelines.decide.intake import Intake
from auditflow.pipelines.deliver.batch import Batch
from auditflow.pipelines.deliver.destination import pause
from auditflow.pipelines.deliver.dispatcher import DeliveryTarget, Dispatcher
from auditflow.pipelines.deliver.pause_gate import Stopped
from auditflow.pipelines.read.tail import Source
from auditflow.pipelines.record.outcomes import PipelineOutcomes
from auditflow.sinks._base import Outcome, Verdict

_log = logging.getLogger(__name__)


class Pipeline:
    """A pipeline at work. `run` ends with its source, or when its target was stopped and open calls are done."""

    def __init__(
        self, source: Source, decide: Decide, target: DeliveryTarget, record: PipelineOutcomes
    ) -> None:
        self._source = source
        self._decide = decide
        self._target = target
        self._record = record

    async def run(self) -> None:
        """Work until stopped. A fault of ours is logged and shown; work begins again from what is recorded.

        Raises JournalDamaged, in a group.
        """
        failures = 0
        while not (self._target.gate.stopped or self._source.ended()):
            self._record.problem(self, None)
            try:
                await self._work()
            except* JournalDamaged:
                raise  # to work on needs a restart of the process
            except* Exception as group:  # noqa: BLE001 - one pipeline's fault must not end the others
                failures += 1
                error = group.exceptions[0]
                _log.error("pipeline %s failed and starts again", self._record.pipeline, exc_info=error)
                reason = f"{type(error).__name__}: {error}"
                self._record.problem(self, Outcome(Verdict.RETRY, "INTERNAL_ERROR", reason))
                with suppress(Stopped):
                    await self._target.gate.wait(pause(failures, 1.0))

    async def _work(self) -> None:
        target = self._target
        dispatcher = Dispatcher(target, self._record)
        intake = Intake(self._source, target.gate, self._decide, self._record, dispatcher.fanout)
        slots = asyncio.Semaphore(1 if target.destination.sink.ordered else target.policy.max_in_flight)

        async def deliver(batch: Batch) -> None:
            try:
                await dispatcher.deliver(batch)
            finally:
                intake.advanced.set()
                slots.release()

        async with asyncio.TaskGroup() as tasks:
            with suppress(Stopped):
                async for batch in intake.batches(target.limits):
                    await slots.acquire()
                    tasks.create_task(deliver(batch))
                    del batch  # see Intake
