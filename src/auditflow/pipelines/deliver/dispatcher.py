"""Brings batches to their end: calls the destination until every event is delivered or given up."""
# Tested in tests/pipelines/test_pipeline.py.

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Final

from auditflow.ledger import DeadLetter
from auditflow.pipelines.deliver.batch import Batch
from auditflow.pipelines.deliver.destination import Destination, pause, worst
from auditflow.pipelines.deliver.fallback import Fallback, by_fallback
from auditflow.pipelines.deliver.fan_out import Fanout
from auditflow.pipelines.deliver.outcome_log import Delivered, OutcomeLog, Settlement
from auditflow.pipelines.deliver.pause_gate import PauseGate, Stopped
from auditflow.pipelines.deliver.policy import DeliveryPolicy
from auditflow.pipelines.deliver.rate_limiter import RateLimiter
from auditflow.sinks._base import BatchLimits, Outcome, Verdict, shared

UNTRIED: Final = Outcome(Verdict.RETRY, "UNTRIED", "the destination was not to be tried at this moment")


@dataclass(frozen=True, slots=True)
class DeliveryTarget:
    """Where a pipeline's events leave: the destinations, how hard to try, and what may hold them back."""

    destination: Destination
    policy: DeliveryPolicy
    gate: PauseGate
    fallback: Fallback | None = None
    rate_limiter: RateLimiter = field(default_factory=RateLimiter)

    @property
    def limits(self) -> BatchLimits:
        """Say how large a batch is to be."""
        return self.rate_limiter.limits(self.destination.sink.limits)


class Dispatcher:
    """Delivers the batches of one pipeline."""

    def __init__(self, target: DeliveryTarget, log: OutcomeLog) -> None:
        self.fanout = Fanout()
        self._target = target
        self._log = log
        self._anywhere = {"destination": target.destination.sink.destination}

    async def deliver(self, batch: Batch) -> None:
        """Bring every event of the batch to an end, or leave it where it is kept when told to stop."""
        key, target = object(), self._target
        try:
            while len(batch):
                await target.gate.passed()
                await target.rate_limiter.passed(len(batch), target.gate)
                if target.fallback is None:  # it may have to wait for another's trial
                    self._log.problem(key, target.destination.problem)
                batch, problem = self._settle(batch, await self._round(batch))
                self._log.problem(key, problem)
                if problem is not None and (target.fallback or not target.destination.failures):
                    # no destination's pause makes this batch wait
                    await target.gate.wait(pause(batch.attempts, problem.retry_after))
        except Stopped:
            return
        except BaseException as error:
            self._log.problem(key, None)
            if isinstance(error, asyncio.CancelledError):  # the call that is cut off may have got through
                self._log.settled(Settlement(batch.attempts, duplicates=len(batch)))
            raise

    async def _round(self, batch: Batch) -> list[Outcome]:
        """Call the destination, and the fallback where it is time for it; give one outcome per event."""
        destination, fallback = self._target.destination, self._target.fallback
        patience, most = fallback.after if fallback else inf, self._target.policy.max_attempts or inf
        try:
            outcomes = await destination.deliver(batch.load, self._target.gate, patience, most)
        except TimeoutError:
            outcomes = [destination.problem or UNTRIED] * len(batch)
        else:
            batch.attempts += 1
            batch.held += _delivered(outcomes) is None and worst(outcomes).verdict is Verdict.BLOCKED
            batch.first_failed = batch.first_failed or self._log.now()
        if fallback is None:
            return outcomes
        if _delivered(outcomes):
            self._log.aside(None)
            return outcomes
        return await self._fall_back(batch, outcomes, fallback)

    async def _fall_back(self, batch: Batch, outcomes: list[Outcome], fallback: Fallback) -> list[Outcome]:
        """Let the fallback deliver what has waited long enough, or would be given up."""
        failing_for = self._target.destination.failing_for()
        if batch.first_failed:
            failing_for = max(failing_for, (self._log.now() - batch.first_failed) / 1000)
        open_ones = [
            i
            for i, outcome in enumerate(outcomes)
            if outcome.verdict in {Verdict.RETRY, Verdict.BLOCKED}
            and (failing_for >= fallback.after or self._given_up(batch, i, outcome))
        ]
        taken = None
        if open_ones:
            taken = await fallback.deliver([batch.events[i] for i in open_ones], self._target.gate)
        self._log.aside(self._target.destination.problem if taken else None)
        if taken is None:
            return outcomes
        batch.attempts += 1
        batch.held += 1
        if fallback.backfill:
            again = sum(outcomes[i].ambiguous for i in open_ones)
            self._log.settled(Settlement(batch.attempts, duplicates=again))
        ended = {i: new for i, new in zip(open_ones, taken, strict=True) if new.verdict is Verdict.DELIVERED}
        return [ended.get(i, outcome) for i, outcome in enumerate(outcomes)]

    def _settle(self, batch: Batch, outcomes: Sequence[Outcome]) -> tuple[Batch, Outcome | None]:
        """Record what has ended; give what has not, and why."""
        whole = _delivered(outcomes)
        if whole and not self.fanout.busy:  # nearly always, so not event by event
            place = whole.where or self._anywhere
            self._settled(batch, [Delivered(place, batch.sequences, self._owed(place))], [], 0)
            return batch.only([]), None
        places: dict[int, Delivered] = {}
        letters: list[DeadLetter] = []
        open_ones: list[int] = []
        for i, outcome in enumerate(outcomes):
            rejection = self._given_up(batch, i, outcome)
            if rejection is None and outcome.verdict is not Verdict.DELIVERED:
                open_ones.append(i)
                continue
            end = self.fanout.end(batch.sequences[i], rejection or outcome)
            if end is None:
                continue
            if end.verdict is Verdict.DELIVERED:
                place = end.where or self._anywhere  # one object for all events of a request
                delivered = places.get(id(place)) or Delivered(place, [], self._owed(place))
                places.setdefault(id(place), delivered).sequences.append(batch.sequences[i])
            else:
                letters.append(self._log.undeliverable(batch, i, end))
        repeats = sum(outcomes[i].ambiguous for i in open_ones)
        self._settled(batch, list(places.values()), letters, repeats)
        return batch.only(open_ones), worst([outcomes[i] for i in open_ones]) if open_ones else None

    def _settled(
        self, batch: Batch, delivered: Sequence[Delivered], letters: list[DeadLetter], repeats: int
    ) -> None:
        calls, batch.counted = batch.attempts - batch.counted, batch.attempts
        self._log.settled(Settlement(batch.attempts, calls, repeats if calls else 0, delivered, letters))

    def _owed(self, place: Mapping[str, Any]) -> bool:
        return bool(self._target.fallback and self._target.fallback.backfill) and by_fallback(place)

    def _given_up(self, batch: Batch, i: int, outcome: Outcome) -> Outcome | None:
        """Give the outcome when the event will not be tried again, with the policy's reason where it decides."""
        policy = self._target.policy
        match outcome.verdict:
            case Verdict.DELIVERED:
                return None
            case Verdict.REJECTED:
                return outcome
            case Verdict.BLOCKED if policy.when_blocked == "dead-letter":
                return outcome
            case Verdict.RETRY if batch.attempts - batch.held >= (policy.max_attempts or inf):
                return replace(outcome, reason=f"gave up after {batch.attempts} attempts: {outcome.reason}")
        # what the rate has delayed is none the worse for it
        since = batch.first_failed if policy.rate else batch.accepted_at[i]
        if self._log.aging_now() - since > policy.max_age * 1000:
            return replace(outcome, reason=f"gave up after delivery.max-age: {outcome.reason}")
        return None


def _delivered(outcomes: Sequence[Outcome]) -> Outcome | None:
    """Give the outcome that all events share when it is that they are delivered."""
    outcome = shared(outcomes)
    return outcome if outcome is not None and outcome.verdict is Verdict.DELIVERED else None
