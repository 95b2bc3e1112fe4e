"""Brings parcels to their end: calls the destination until every event is delivered or given up."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Final, NamedTuple, Protocol

from auditflow.ledger import Letter
from auditflow.pipelines.deliver.batch import Parcel
from auditflow.pipelines.deliver.destination import Destination, pause, worst
from auditflow.pipelines.deliver.fallback import Fallback, by_fallback
from auditflow.pipelines.deliver.fan_out import Fanout
from auditflow.pipelines.deliver.pause_gate import Gate, Stopped
from auditflow.pipelines.deliver.policy import DeliveryPolicy
from auditflow.pipelines.deliver.rate_limiter import Pace
from auditflow.sinks._base import BatchLimits, Outcome, Verdict, shared

UNTRIED: Final = Outcome(Verdict.RETRY, "UNTRIED", "the destination was not to be tried at this moment")


class Brought(NamedTuple):
    """Events that one call has brought to one place."""

    place: Mapping[str, Any]
    """In the sink's words."""
    sequences: list[int]
    owed: bool
    """Whether they are at the fallback and the first destination is to get them, too."""


class Book(Protocol):
    """Where a courier writes what has become of events: those of the journal, or those of dead letters."""

    def now(self) -> int:
        """Give Unix time in milliseconds."""

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

    def undeliverable(self, parcel: Parcel, i: int, rejection: Outcome) -> Letter:
        """Write a dead letter of the parcel's i-th event; it counts once it has been handed to `settled`."""

    def trouble(self, key: object, trouble: Outcome | None) -> None:
        """Keep what hinders one parcel now, or that nothing does, for status."""

    def aside(self, trouble: Outcome | None) -> None:
        """Keep what makes events go to the fallback now, or that they do not, for status."""


@dataclass(frozen=True, slots=True)
class Outlet:
    """Where a pipeline's events leave: the destinations, how hard to try, and what may hold them back."""

    destination: Destination
    policy: DeliveryPolicy
    gate: Gate
    fallback: Fallback | None = None
    pace: Pace = field(default_factory=Pace)

    @property
    def limits(self) -> BatchLimits:
        """Say how large a batch is to be."""
        return self.pace.limits(self.destination.sink.limits)


class Courier:
    """Delivers the parcels of one pipeline."""

    def __init__(self, outlet: Outlet, book: Book) -> None:
        self.fanout = Fanout()
        self._outlet = outlet
        self._book = book
        self._anywhere = {"destination": outlet.destination.sink.destination}

    async def deliver(self, parcel: Parcel) -> None:
        """Bring every event of the parcel to an end, or leave it where it is kept when told to stop."""
        key, outlet = object(), self._outlet
        try:
            while len(parcel):
                await outlet.gate.passed()
                await outlet.pace.passed(len(parcel), outlet.gate)
                if outlet.fallback is None:  # it may have to wait for another's trial
                    self._book.trouble(key, outlet.destination.trouble)
                parcel, trouble = self._settle(parcel, await self._round(parcel))
                self._book.trouble(key, trouble)
                if trouble is not None and (outlet.fallback or not outlet.destination.failures):
                    # no destination's pause makes this parcel wait
                    await outlet.gate.wait(pause(parcel.attempts, trouble.retry_after))
        except Stopped:
            return
        except BaseException as error:
            self._book.trouble(key, None)
            if isinstance(error, asyncio.CancelledError):  # the call that is cut off may have got through
                self._book.settled([], [], attempts=parcel.attempts, calls=0, duplicates=len(parcel))
            raise

    async def _round(self, parcel: Parcel) -> list[Outcome]:
        """Call the destination, and the fallback where it is time for it; give one outcome per event."""
        destination, fallback = self._outlet.destination, self._outlet.fallback
        patience, most = fallback.after if fallback else inf, self._outlet.policy.max_attempts or inf
        try:
            outcomes = await destination.deliver(parcel.load, self._outlet.gate, patience, most)
        except TimeoutError:
            outcomes = [destination.trouble or UNTRIED] * len(parcel)
        else:
            parcel.attempts += 1
            parcel.held += _delivered(outcomes) is None and worst(outcomes).verdict is Verdict.BLOCKED
            parcel.first_failed = parcel.first_failed or self._book.now()
        if fallback is None:
            return outcomes
        if _delivered(outcomes):
            self._book.aside(None)
            return outcomes
        return await self._fall_back(parcel, outcomes, fallback)

    async def _fall_back(self, parcel: Parcel, outcomes: list[Outcome], fallback: Fallback) -> list[Outcome]:
        """Let the fallback deliver what has waited long enough, or would be given up."""
        failing_for = self._outlet.destination.failing_for()
        if parcel.first_failed:
            failing_for = max(failing_for, (self._book.now() - parcel.first_failed) / 1000)
        open_ones = [
            i
            for i, outcome in enumerate(outcomes)
            if outcome.verdict in {Verdict.RETRY, Verdict.BLOCKED}
            and (failing_for >= fallback.after or self._given_up(parcel, i, outcome))
        ]
        taken = None
        if open_ones:
            taken = await fallback.deliver([parcel.events[i] for i in open_ones], self._outlet.gate)
        self._book.aside(self._outlet.destination.trouble if taken else None)
        if taken is None:
            return outcomes
        parcel.attempts += 1
        parcel.held += 1
        if fallback.backfill:
            again = sum(outcomes[i].ambiguous for i in open_ones)
            self._book.settled([], [], attempts=parcel.attempts, calls=0, duplicates=again)
        ended = {i: new for i, new in zip(open_ones, taken, strict=True) if new.verdict is Verdict.DELIVERED}
        return [ended.get(i, outcome) for i, outcome in enumerate(outcomes)]

    def _settle(self, parcel: Parcel, outcomes: Sequence[Outcome]) -> tuple[Parcel, Outcome | None]:
        """Record what has ended; give what has not, and why."""
        whole = _delivered(outcomes)
        if whole and not self.fanout.busy:  # nearly always, so not event by event
            place = whole.where or self._anywhere
            self._settled(parcel, [Brought(place, parcel.sequences, self._owed(place))], [], 0)
            return parcel.only([]), None
        delivered: dict[int, Brought] = {}
        letters: list[Letter] = []
        open_ones: list[int] = []
        for i, outcome in enumerate(outcomes):
            rejection = self._given_up(parcel, i, outcome)
            if rejection is None and outcome.verdict is not Verdict.DELIVERED:
                open_ones.append(i)
                continue
            end = self.fanout.end(parcel.sequences[i], rejection or outcome)
            if end is None:
                continue
            if end.verdict is Verdict.DELIVERED:
                place = end.where or self._anywhere  # one object for all events of a request
                brought = delivered.get(id(place)) or Brought(place, [], self._owed(place))
                delivered.setdefault(id(place), brought).sequences.append(parcel.sequences[i])
            else:
                letters.append(self._book.undeliverable(parcel, i, end))
        repeats = sum(outcomes[i].ambiguous for i in open_ones)
        self._settled(parcel, list(delivered.values()), letters, repeats)
        return parcel.only(open_ones), worst([outcomes[i] for i in open_ones]) if open_ones else None

    def _settled(
        self, parcel: Parcel, delivered: Sequence[Brought], letters: list[Letter], repeats: int
    ) -> None:
        calls, parcel.counted = parcel.attempts - parcel.counted, parcel.attempts
        self._book.settled(
            delivered, letters, attempts=parcel.attempts, calls=calls, duplicates=repeats if calls else 0
        )

    def _owed(self, place: Mapping[str, Any]) -> bool:
        return bool(self._outlet.fallback and self._outlet.fallback.backfill) and by_fallback(place)

    def _given_up(self, parcel: Parcel, i: int, outcome: Outcome) -> Outcome | None:
        """Give the outcome when the event will not be tried again, with the policy's reason where it decides."""
        policy = self._outlet.policy
        match outcome.verdict:
            case Verdict.DELIVERED:
                return None
            case Verdict.REJECTED:
                return outcome
            case Verdict.BLOCKED if policy.when_blocked == "dead-letter":
                return outcome
            case Verdict.RETRY if parcel.attempts - parcel.held >= (policy.max_attempts or inf):
                return replace(outcome, reason=f"gave up after {parcel.attempts} attempts: {outcome.reason}")
        # what the rate has delayed is none the worse for it
        since = parcel.first_failed if policy.rate else parcel.accepted_at[i]
        if self._book.now() - since > policy.max_age * 1000:
            return replace(outcome, reason=f"gave up after delivery.max-age: {outcome.reason}")
        return None


def _delivered(outcomes: Sequence[Outcome]) -> Outcome | None:
    """Give the outcome that all events share when it is that they are delivered."""
    outcome = shared(outcomes)
    return outcome if outcome is not None and outcome.verdict is Verdict.DELIVERED else None
