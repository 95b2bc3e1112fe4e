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
from typing import Any, Final

from auditflow.errors import AuditFlowError
from auditflow.foreign import text_of
from auditflow.pipelines.policy import BACKOFF_BASE_SECONDS, BACKOFF_CAP_SECONDS
from auditflow.sinks._base import Outcome, Sink, Verdict

SINK_FAILED: Final = "SINK_FAILED"
LOOK_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


class Stopped(Exception):
    """The process is shutting down; the events stay in the journal."""


class Destination:
    """A sink with its state. Use from one event loop."""

    def __init__(self, sink: Sink[Any]) -> None:
        self.sink = sink
        self.failures = 0
        """Calls in a row that delivered nothing; 0 while the destination works."""
        self._opened = False
        self._opening = asyncio.Lock()
        self._trial = asyncio.Lock()
        self._retry_at = 0.0
        self._stopping = asyncio.Event()

    async def deliver(self, events: Sequence[bytes]) -> list[Outcome]:
        """Deliver as soon as the destination may be tried; one outcome per event, whatever happens.

        Raises Stopped when it is told to stop before the call has begun.
        """
        if self.failures:
            async with self._trial:
                # looked at now and then, because a call from before the failure may still get through
                while self.failures and (seconds := self._retry_at - time.monotonic()) > 0:
                    await self.wait(min(seconds, LOOK_SECONDS))
                if self.failures:
                    return await self._call(events)
        return await self._call(events)

    async def wait(self, seconds: float) -> None:
        """Sleep. Raises Stopped as soon as the destination is told to stop."""
        try:
            await asyncio.wait_for(self._stopping.wait(), max(0.0, seconds))
        except TimeoutError:
            return
        raise Stopped

    def stop(self) -> None:
        """Begin no more calls; those under way go on."""
        self._stopping.set()

    async def close(self) -> None:
        """Close the sink; what it raises is logged, since nothing can be done about it."""
        try:
            await self.sink.close()
        except Exception:  # noqa: BLE001 - see above
            _log.exception("closing %s failed", self.sink.destination)

    async def _call(self, events: Sequence[bytes]) -> list[Outcome]:
        if self._stopping.is_set():
            raise Stopped
        failures = self.failures + 1
        try:
            await self._open()
            outcomes = await self.sink.deliver(events)
        except AuditFlowError as error:
            outcomes = [Outcome(Verdict.BLOCKED, error.code, str(error), error.hint)] * len(events)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a sink's fault must not end its pipeline
            _log.exception("%s raised instead of answering", self.sink.destination)
            reason = f"{type(error).__name__}: {text_of(error)}"
            outcomes = [Outcome(Verdict.RETRY, SINK_FAILED, reason)] * len(events)
        if len(outcomes) != len(events):
            reason = f"the sink gave {len(outcomes)} outcomes for {len(events)} events"
            outcomes = [Outcome(Verdict.RETRY, SINK_FAILED, reason, ambiguous=True)] * len(events)
        self._learn(outcomes, failures)
        return outcomes

    async def _open(self) -> None:
        async with self._opening:
            if not self._opened:
                await self.sink.open()
                self._opened = True

    def _learn(self, outcomes: Sequence[Outcome], failures: int) -> None:
        """Take note of a call; `failures` counts it on top of those known when it began.

        So calls that were under way together and fail together count as one.
        """
        if any(outcome.verdict in {Verdict.DELIVERED, Verdict.REJECTED} for outcome in outcomes):
            self.failures, self._retry_at = 0, 0.0
            return
        self.failures = max(self.failures, failures)
        seconds = pause(self.failures, max(o.retry_after for o in outcomes))
        self._retry_at = max(self._retry_at, time.monotonic() + seconds)


def pause(attempt: int, at_least: float = 0.0) -> float:
    """Give the seconds to wait after the n-th failure in a row: exponential with full jitter, to a cap."""
    ceiling = min(BACKOFF_CAP_SECONDS, BACKOFF_BASE_SECONDS * 2 ** min(attempt - 1, 20))
    return at_least + random.uniform(0, ceiling)  # noqa: S311 - jitter needs no secrecy
