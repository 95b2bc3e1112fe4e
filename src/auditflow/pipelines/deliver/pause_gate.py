"""Lets a pipeline's deliveries through, unless somebody has paused it, and ends their waiting when it stops."""
# Tested in tests/pipelines/test_pipeline.py.

from __future__ import annotations

import asyncio
from math import inf


class Stopped(Exception):
    """The pipeline is being stopped; its events stay where they are kept."""


class PauseGate:
    """Open or closed. Deliveries under way when it closes end; none begins until it opens. Made inside a loop."""

    def __init__(self, *, paused: bool = False) -> None:
        self._open = asyncio.Event()
        self._stopping = asyncio.get_running_loop().create_future()
        self._news: set[asyncio.Future[None]] = set()
        self.pause(paused=paused)

    @property
    def stopped(self) -> bool:
        """Whether nothing may begin any more."""
        return self._stopping.done()

    def pause(self, *, paused: bool) -> None:
        """Close the gate, or open it."""
        if paused and not self.stopped:
            self._open.clear()
        else:
            self._open.set()

    def stop(self) -> None:
        """Let whoever waits go, for good. Calls under way go on."""
        if not self.stopped:
            self._stopping.set_result(None)
            for news in self._news:
                if not news.done():
                    news.set_result(None)
        self._open.set()

    async def passed(self) -> None:
        """Wait until the gate is open. Raises Stopped."""
        await self._open.wait()
        if self.stopped:
            raise Stopped

    async def heard(self, news: asyncio.Future[None]) -> None:
        """Wait until it is done, which nobody else may wait for; this is what costs least. Raises Stopped."""
        self._news.add(news)
        try:
            if not self.stopped:
                await news
        finally:
            self._news.remove(news)
        if self.stopped:
            raise Stopped

    async def wait(self, seconds: float, *others: asyncio.Future[None]) -> None:
        """Sleep, or until one of the others is done. Raises Stopped as soon as the pipeline is."""
        timeout = None if seconds == inf else max(0.0, seconds)
        await asyncio.wait({self._stopping, *others}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if self.stopped:
            raise Stopped
