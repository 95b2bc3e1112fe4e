"""Redacts large events beside the event loop, so that nobody else waits for what one tenant publishes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Final
from weakref import WeakValueDictionary

from auditflow.errors import RedactionFailed
from auditflow.ingest.redaction.redactor import Redactor

MOST_AT_ONCE: Final = 64 * 1024
"""Bytes of events that are taken apart on the event loop. At worst, each takes about a microsecond."""


class Offload:
    """Takes turns: what one tenant publishes is redacted in one thread at a time, a slice after the other."""

    def __init__(self) -> None:
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def redact(
        self, redactor: Redactor, events: Sequence[bytes], tenant: str
    ) -> list[bytes | RedactionFailed]:
        """Do what the redactor's own method does; the tenant is whose turn it is."""
        redacted, suspects = redactor.begin(events)
        if sum(len(events[number]) for number in suspects) <= MOST_AT_ONCE:
            redactor.finish(events, redacted, suspects)
            return redacted
        turn = self._turns.setdefault(tenant, asyncio.Lock())
        for block_slice in _slices(events, suspects):
            async with turn:
                await asyncio.to_thread(redactor.finish, events, redacted, block_slice)
        return redacted


def _slices(events: Sequence[bytes], numbers: Iterable[int]) -> Iterator[list[int]]:
    """Split events into runs that are no larger than what is done at once, or else a single one."""
    block_slice: list[int] = []
    size = 0
    for number in numbers:
        if block_slice and size + len(events[number]) > MOST_AT_ONCE:
            yield block_slice
            block_slice, size = [], 0
        block_slice.append(number)
        size += len(events[number])
    yield block_slice
