"""Lets a pipeline's deliveries through, unless somebody has paused it."""

from __future__ import annotations

import asyncio

from auditflow.pipelines.destination import Stopped


class Gate:
    """Open or closed. Deliveries under way when it closes end; none begins until it opens."""

    def __init__(self, *, paused: bool = False) -> None:
        self._open = asyncio.Event()
        self.stopped = False
        self.pause(paused=paused)

    def pause(self, *, paused: bool) -> None:
        """Close the gate, or open it."""
        if paused and not self.stopped:
            self._open.clear()
        else:
            self._open.set()

    def stop(self) -> None:
        """Let whoever waits go: the process is shutting down."""
        self.stopped = True
        self._open.set()

    async def passed(self) -> None:
        """Wait until the gate is open. Raises Stopped."""
        await self._open.wait()
        if self.stopped:
            raise Stopped
