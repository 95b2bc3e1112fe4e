"""One pipeline: read, decide, deliver, record. Every event ends delivered, filtered or dead-lettered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from math import inf

from auditflow.errors import JournalDamaged
from auditflow.journal import Letter
from auditflow.pipelines.decide import Decide
from auditflow.pipelines.destination import Destination, Stopped, pause
from auditflow.pipelines.fanout import Fanout
from auditflow.pipelines.intake import Intake
from auditflow.pipelines.parcel import Parcel
from auditflow.pipelines.policy import DeliveryPolicy
from auditflow.pipelines.record import Record
from auditflow.pipelines.tail import Tail
from auditflow.sinks._base import Outcome, Verdict

_log = logging.getLogger(__name__)


class Pipeline:
    """A pipeline at work. `run` ends when the tail and the destination were stopped and open calls are done."""

    def __init__(
        self, tail: Tail, decide: Decide, destination: Destination, policy: DeliveryPolicy, record: Record
    ) -> None:
        self._tail = tail
        self._decide = decide
        self._destination = destination
        self._policy = policy
        self._record = record
        self._troubles: dict[object, Outcome] = {}

    async def run(self) -> None:
        """Work until stopped. A fault of ours is logged and shown; work begins again from what is recorded.

        Raises JournalDamaged, in a group.
        """
        failures = 0
        while not self._tail.stopped:
            self._troubles.clear()
            self._show()
            try:
                await self._work()
            except* JournalDamaged:
                raise  # to work on needs a restart of the process
            except* Exception as group:  # noqa: BLE001 - one pipeline's fault must not end the others
                failures += 1
                error = group.exceptions[0]
                _log.error("pipeline %s failed and starts again", self._record.pipeline, exc_info=error)
                self._record.show(
                    Outcome(Verdict.RETRY, "INTERNAL_ERROR", f"{type(error).__name__}: {error}")
                )
                with suppress(Stopped):
                    await self._destination.wait(pause(failures, 1.0))

    async def _work(self) -> None:
        fanout = Fanout()
        intake = Intake(self._tail, self._decide, self._record, fanout)
        slots = asyncio.Semaphore(1 if self._destination.sink.ordered else self._policy.max_in_flight)

        async def deliver(parcel: Parcel) -> None:
            try:
                await self._deliver(parcel, fanout)
            finally:
                intake.advanced.set()
                slots.release()

        async with asyncio.TaskGroup() as tasks:
            async for parcel in intake.parcels(self._destination.sink.limits):
                await slots.acquire()
                tasks.create_task(deliver(parcel))

    async def _deliver(self, parcel: Parcel, fanout: Fanout) -> None:
        """Bring every event of the parcel to an end, or leave it to the journal when told to stop."""
        key = object()
        while len(parcel):
            try:
                outcomes = await self._destination.deliver(parcel.events)
                parcel, trouble = self._settle(parcel, outcomes, fanout)
                if trouble is None:
                    self._troubles.pop(key, None)
                else:
                    self._troubles[key] = trouble
                self._show()
                if trouble is not None and not self._destination.failures:
                    # the destination works for others, so it does not make this parcel wait
                    await self._destination.wait(pause(parcel.attempts, trouble.retry_after))
            except Stopped:
                return

    def _settle(
        self, parcel: Parcel, outcomes: Sequence[Outcome], fanout: Fanout
    ) -> tuple[Parcel, Outcome | None]:
        """Record what has ended; give what has not, and why."""
        parcel.attempts += 1
        parcel.held += any(outcome.verdict is Verdict.BLOCKED for outcome in outcomes)
        parcel.first_failed = parcel.first_failed or self._record.now()
        delivered: list[int] = []
        letters: list[Letter] = []
        open_ones: list[int] = []
        for i, outcome in enumerate(outcomes):
            rejection = self._given_up(parcel, i, outcome)
            if rejection is None and outcome.verdict is not Verdict.DELIVERED:
                open_ones.append(i)
                continue
            ended, rejection = fanout.end(parcel.sequences[i], rejection)
            if ended and rejection is None:
                delivered.append(parcel.sequences[i])
            elif ended and rejection is not None:
                letters.append(self._letter(parcel, i, rejection))
        repeats = sum(outcomes[i].ambiguous for i in open_ones)
        self._record.settled(delivered, letters, duplicates=repeats)
        rest = parcel.only(open_ones)
        blocked = (outcomes[i] for i in open_ones if outcomes[i].verdict is Verdict.BLOCKED)
        return rest, next(blocked, outcomes[open_ones[0]] if open_ones else None)

    def _given_up(self, parcel: Parcel, i: int, outcome: Outcome) -> Outcome | None:
        """Give the outcome when the event will not be tried again, with the policy's reason where it decides."""
        match outcome.verdict:
            case Verdict.DELIVERED:
                return None
            case Verdict.REJECTED:
                return outcome
            case Verdict.BLOCKED if self._policy.when_blocked == "dead-letter":
                return outcome
            case Verdict.RETRY if parcel.attempts - parcel.held >= (self._policy.max_attempts or inf):
                return replace(outcome, reason=f"gave up after {parcel.attempts} attempts: {outcome.reason}")
        if self._record.now() - parcel.accepted_at[i] > self._policy.max_age * 1000:
            return replace(outcome, reason=f"gave up after delivery.max-age: {outcome.reason}")
        return None

    def _letter(self, parcel: Parcel, i: int, rejection: Outcome) -> Letter:
        return self._record.letter(
            parcel.sequences[i], rejection.code, rejection.reason, parcel.originals[i],
            attempts=parcel.attempts, first_failed=parcel.first_failed,
        )  # fmt: skip

    def _show(self) -> None:
        troubles = list(self._troubles.values())
        blocked = (trouble for trouble in troubles if trouble.verdict is Verdict.BLOCKED)
        self._record.show(next(blocked, troubles[0] if troubles else None))
