"""Holds a pipeline to its `delivery.rate`."""

from __future__ import annotations

import time
from dataclasses import replace
from math import inf
from typing import Final

from auditflow.pipelines.deliver.pause_gate import PauseGate
from auditflow.sinks._base import BatchLimits

PORTION_SECONDS: Final = 0.1
"""Events of so many seconds go together: fewer calls than one for each event, and no burst to speak of."""


class RateLimiter:
    """Lets so many events per second through, however many deliveries are under way; 0 is no limit."""

    def __init__(self, rate: float = 0.0) -> None:
        self._rate = rate or inf
        self._free_at = 0.0

    def limits(self, limits: BatchLimits) -> BatchLimits:
        """Give the limits of a sink's batches, smaller where the rate asks for it."""
        if self._rate == inf:
            return limits
        return replace(limits, events=min(limits.events, max(1, int(self._rate * PORTION_SECONDS))))

    async def passed(self, events: int, gate: PauseGate) -> None:
        """Wait until so many events may go. Raises Stopped."""
        now = time.monotonic()
        begins, self._free_at = self._free_at, max(now, self._free_at) + events / self._rate
        if begins > now:
            await gate.wait(begins - now)
