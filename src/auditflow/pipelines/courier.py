"""Brings parcels to their end: calls the destination until every event is delivered or given up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Protocol

from auditflow.journal import Letter
from auditflow.pipelines.destination import Destination, Stopped, pause
from auditflow.pipelines.fanout import Fanout
from auditflow.pipelines.gate import Gate
from auditflow.pipelines.parcel import Parcel
from auditflow.pipelines.policy import DeliveryPolicy
from auditflow.sinks._base import Outcome, Verdict

Brought = tuple[Mapping[str, Any], list[int]]
"""A place, in the sink's words, and the sequence numbers of the events that are there now."""


class Book(Protocol):
    """Where a courier writes what has become of events: those of the journal, or those of dead letters."""

    def now(self) -> int:
        """Give Unix time in milliseconds."""

    def settled(
        self, delivered: Sequence[Brought], letters: list[Letter], *, attempts: int, duplicates: int
    ) -> None:
        """Settle what one call of the sink has brought to an end, at its `attempts`-th attempt."""

    def undeliverable(self, parcel: Parcel, i: int, rejection: Outcome) -> Letter:
        """Write a dead letter of the parcel's i-th event; it counts once it has been handed to `settled`."""

    def trouble(self, key: object, trouble: Outcome | None) -> None:
        """Keep what hinders one parcel now, or that nothing does, for status."""


@dataclass(frozen=True, slots=True)
class Outlet:
    """Where a pipeline's events leave: the destination, how hard to try, and whether somebody has paused it."""

    destination: Destination
    policy: DeliveryPolicy
    gate: Gate

    def stop(self) -> None:
        """Begin no more calls; those under way go on."""
        self.destination.stop()
        self.gate.stop()


class Courier:
    """Delivers the parcels of one pipeline."""

    def __init__(self, outlet: Outlet, book: Book) -> None:
        self.fanout = Fanout()
        self._outlet = outlet
        self._book = book
        self._anywhere = {"destination": outlet.destination.sink.destination}

    async def deliver(self, parcel: Parcel) -> None:
        """Bring every event of the parcel to an end, or leave it where it is kept when told to stop."""
        key, destination = object(), self._outlet.destination
        try:
            while len(parcel):
                await self._outlet.gate.passed()
                outcomes = await destination.deliver(parcel.events)
                parcel, trouble = self._settle(parcel, outcomes)
                self._book.trouble(key, trouble)
                if trouble is not None and not destination.failures:
                    # the destination works for others, so it does not make this parcel wait
                    await destination.wait(pause(parcel.attempts, trouble.retry_after))
        except Stopped:
            return
        except BaseException:
            self._book.trouble(key, None)
            raise

    def _settle(self, parcel: Parcel, outcomes: Sequence[Outcome]) -> tuple[Parcel, Outcome | None]:
        """Record what has ended; give what has not, and why."""
        parcel.attempts += 1
        parcel.held += any(outcome.verdict is Verdict.BLOCKED for outcome in outcomes)
        parcel.first_failed = parcel.first_failed or self._book.now()
        delivered: dict[int, Brought] = {}
        letters: list[Letter] = []
        open_ones: list[int] = []
        for i, outcome in enumerate(outcomes):
            rejection = self._given_up(parcel, i, outcome)
            if rejection is None and outcome.verdict is not Verdict.DELIVERED:
                open_ones.append(i)
                continue
            ended, rejection = self.fanout.end(parcel.sequences[i], rejection)
            if ended and rejection is None:
                place = outcome.where or self._anywhere  # one object for all events of a request
                delivered.setdefault(id(place), (place, []))[1].append(parcel.sequences[i])
            elif ended and rejection is not None:
                letters.append(self._book.undeliverable(parcel, i, rejection))
        repeats = sum(outcomes[i].ambiguous for i in open_ones)
        self._book.settled(list(delivered.values()), letters, attempts=parcel.attempts, duplicates=repeats)
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
            case Verdict.BLOCKED if self._outlet.policy.when_blocked == "dead-letter":
                return outcome
            case Verdict.RETRY if parcel.attempts - parcel.held >= (self._outlet.policy.max_attempts or inf):
                return replace(outcome, reason=f"gave up after {parcel.attempts} attempts: {outcome.reason}")
        if self._book.now() - parcel.accepted_at[i] > self._outlet.policy.max_age * 1000:
            return replace(outcome, reason=f"gave up after delivery.max-age: {outcome.reason}")
        return None
