"""A sink that keeps what it is given and answers as it is told: for tests of pipelines and of plugins."""
# Tested in tests/pipelines/test_pipeline.py.

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from auditflow.sinks._base import DELIVERED, BatchLimits, Outcome, Properties, Sink

Script = Callable[[Sequence[bytes]], list[Outcome]]
"""Decides the outcomes of one call."""


class RecordingSink(Sink[Properties]):
    """Delivers to `delivered`. What it answers next can be queued with `answer` or `script`."""

    Properties = Properties

    def __init__(self, limits: BatchLimits | None = None) -> None:
        super().__init__(Properties())
        self.calls: list[list[bytes]] = []
        """Events of each call, whatever became of them."""
        self.delivered: list[bytes] = []
        self.gate = asyncio.Event()
        """Calls wait here; open at first. Clear it to hold them."""
        self.gate.set()
        self._limits = limits or BatchLimits()
        self._scripts: deque[Script] = deque()
        self._changed = asyncio.Event()

    @property
    def destination(self) -> str:
        """Name the destination."""
        return "recording"

    @property
    def limits(self) -> BatchLimits:
        """Give the limits it was made with."""
        return self._limits

    def answer(self, outcome: Outcome, times: int = 1) -> None:
        """Give this outcome to every event of the next calls."""
        for _ in range(times):
            self._scripts.append(lambda events: [outcome] * len(events))

    def script(self, script: Script) -> None:
        """Let a function decide over the next call that no other answer is queued for."""
        self._scripts.append(script)

    def clear(self) -> None:
        """Forget the answers that were queued: from now on everything is delivered."""
        self._scripts.clear()

    async def deliver(self, events: Sequence[bytes]) -> list[Outcome]:
        """Record the call and answer it."""
        self.calls.append(list(events))
        self._announce()
        await self.gate.wait()
        outcomes = self._scripts.popleft()(events) if self._scripts else [DELIVERED] * len(events)
        self.delivered += [
            event for event, outcome in zip(events, outcomes, strict=False) if outcome == DELIVERED
        ]
        self._announce()
        return outcomes

    async def wait_until(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        """Wait until the condition holds after some call. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while not condition():
                await self._changed.wait()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
