"""One destination and whether it can be reached: open, call, breaker, back-off.

Pipelines with the same sink and properties share one. While it works, calls go through freely. After a call
that delivered nothing, the destination is closed: one call at a time tries it, after a growing pause, and
the first that gets through opens it for all.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from math import inf
from typing import Any, Final

from auditflow.errors import AuditFlowError
from auditflow.pipelines.deliver.pause_gate import PauseGate, Stopped
from auditflow.pipelines.deliver.policy import ASKED_CAP_SECONDS, BACKOFF_BASE_SECONDS, BACKOFF_CAP_SECONDS
from auditflow.plugin_call import is_never, text_of
from auditflow.sinks._base import Outcome, Sink, Verdict, without_secrets

SINK_FAILED: Final = "SINK_FAILED"
LOOK_SECONDS: Final = 1.0
TRIAL_EVENTS: Final = 100
"""With so many events at most a call tries whether a destination works again."""

MOST_HALVES: Final = 64
"""Calls of a sink that raises, to find the events that it raises for: enough for several in the largest batch."""

_log = logging.getLogger(__name__)


class Destination:
    """A sink with its state. Use from one event loop."""

    def __init__(self, sink: Sink[Any]) -> None:
        self.sink = sink
        self.failures = 0
        """Calls in a row that delivered nothing; 0 while the destination works."""
        self.problem: Outcome | None = None
        """What the last of these calls has met."""
        self._opened = False
        self._opening = asyncio.Lock()
        self._trying = False
        self._changed = asyncio.get_running_loop().create_future()
        self._failing_since = self._retry_at = 0.0

    async def deliver(
        self, events: Sequence[bytes], gate: PauseGate, patience: float = inf, attempts: float = inf
    ) -> list[Outcome]:
        """Deliver as soon as the destination may be tried; one outcome per event, whatever happens.

        Who gives an event up after so many `attempts` is not made to wait longer than between these, however often
        others have failed before: else the last of many events would be given up after hours.

        Raises Stopped when the gate is stopped before the call has begun, TimeoutError when the destination
        has failed for more than `patience` seconds and is not to be tried at this moment.
        """
        if not await self._turn(gate, patience):
            return await self._call(events, gate, attempts)
        try:
            # a few are enough to see, and cost a busy machine little while they are refused
            some = await self._call(events[:TRIAL_EVENTS], gate, attempts)
        finally:
            self._trying = False
            self._wake()
        rest = events[TRIAL_EVENTS:]
        if not rest:
            return some
        if self.problem is not None:
            return some + [replace(self.problem, ambiguous=False)] * len(rest)
        return some + await self._call(rest, gate, attempts)

    def breaker(self) -> str:
        """Give `closed` while it works and calls go through freely, else `open`."""
        return "open" if self.failures else "closed"

    def failing_for(self) -> float:
        """Give the seconds since the first of the failures in a row; 0 while it works."""
        return time.monotonic() - self._failing_since if self.failures else 0.0

    async def close(self) -> None:
        """Close the sink; what it raises is logged, since nothing can be done about it."""
        try:
            await self.sink.close()
        except Exception:  # noqa: BLE001 - see above
            _log.exception("closing %s failed", self.sink.destination)

    async def _turn(self, gate: PauseGate, patience: float) -> bool:
        """Wait until the destination works or this call may try whether it does; tell if it is to try."""
        while self.failures:
            now = time.monotonic()
            if not self._trying and now >= self._retry_at:
                self._trying = True
                return True
            left = self._failing_since + patience - now
            if left <= 0:
                raise TimeoutError
            # looked at now and then, because a call from before the failure may still get through
            rest = LOOK_SECONDS if self._trying else min(LOOK_SECONDS, self._retry_at - now)
            await gate.wait(min(left, rest), self._changed)
        return False

    def _wake(self) -> None:
        """Let those look again that wait for their turn."""
        self._changed.set_result(None)
        self._changed = asyncio.get_running_loop().create_future()

    async def _call(self, events: Sequence[bytes], gate: PauseGate, attempts: float) -> list[Outcome]:
        if gate.stopped:
            raise Stopped
        failures = self.failures + 1
        try:
            await self._open()
        except Exception as error:  # noqa: BLE001 - a sink's fault must not end its pipeline
            outcomes = [self._failed(error)] * len(events)
        else:
            outcomes = await self._tried(events, [MOST_HALVES])
        outcomes = without_secrets(outcomes)
        if not self._is_of_one_event(outcomes):
            self._learn(outcomes, failures, attempts)
        return outcomes

    async def _tried(self, events: Sequence[bytes], left: list[int]) -> list[Outcome]:
        """Call the sink. One that raises is asked again with each half, until it is known which events it cannot take.

        `left` holds how many more calls that may take: one that always raises is not called for every event.
        """
        try:
            outcomes = await self.sink.deliver(events)
        except AuditFlowError as error:
            return [self._failed(error)] * len(events)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a sink's fault must not end its pipeline
            if len(events) == 1 or left[0] < 2:  # noqa: PLR2004 - two halves
                _log.exception("%s raised instead of answering", self.sink.destination)
                return [self._failed(error)] * len(events)
            left[0] -= 2
            half = len(events) // 2
            return await self._tried(events[:half], left) + await self._tried(events[half:], left)
        if len(outcomes) != len(events):
            reason = f"the sink gave {len(outcomes)} outcomes for {len(events)} events"
            return [Outcome(Verdict.RETRY, SINK_FAILED, reason, ambiguous=True)] * len(events)
        return outcomes

    @staticmethod
    def _failed(error: BaseException) -> Outcome:
        """Judge what the sink has raised: ValueError says that it will never take the event."""
        if isinstance(error, AuditFlowError):
            return Outcome(Verdict.BLOCKED, error.code, str(error), error.hint)
        reason = f"{type(error).__name__}: {text_of(error)}"
        return Outcome(Verdict.REJECTED if is_never(error) else Verdict.RETRY, SINK_FAILED, reason)

    def _is_of_one_event(self, outcomes: Sequence[Outcome]) -> bool:
        """Tell whether a call has failed by its one event: a destination that takes others does not wait for it."""
        return not self.failures and len(outcomes) == 1 and outcomes[0].code == SINK_FAILED

    async def _open(self) -> None:
        async with self._opening:
            if not self._opened:
                await self.sink.open()
                self._opened = True

    def _learn(self, outcomes: Sequence[Outcome], failures: int, attempts: float) -> None:
        """Take note of a call; `failures` counts it on top of those known when it began.

        So calls that were under way together and fail together count as one.
        """
        if any(outcome.verdict in {Verdict.DELIVERED, Verdict.REJECTED} for outcome in outcomes):
            self.failures, self.problem, self._retry_at = 0, None, 0.0
            return
        if not self.failures:
            self._failing_since = time.monotonic()
        self.problem = worst(outcomes)
        self.failures = max(self.failures, failures)
        seconds = pause(min(self.failures, attempts), max(o.retry_after for o in outcomes))
        self._retry_at = max(self._retry_at, time.monotonic() + seconds)


def worst(outcomes: Sequence[Outcome]) -> Outcome:
    """Give the outcome that says most about a destination: one that blocks, else the first."""
    return next((each for each in outcomes if each.verdict is Verdict.BLOCKED), outcomes[0])


def pause(attempt: float, at_least: float = 0.0) -> float:
    """Give the seconds to wait after the n-th failure in a row: exponential with full jitter, to a cap."""
    ceiling = min(BACKOFF_CAP_SECONDS, BACKOFF_BASE_SECONDS * 2 ** min(attempt - 1, 20))
    return min(at_least, ASKED_CAP_SECONDS) + random.uniform(0, ceiling)  # noqa: S311 - jitter needs no secrecy
