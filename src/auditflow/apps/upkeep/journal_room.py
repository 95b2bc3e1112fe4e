"""Keeps room in the journal: evicts, makes it smaller in need, and holds each tenant to his share of it (J6)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Final

from auditflow import aging
from auditflow.errors import TenantBacklogFull, TenantRefused
from auditflow.ingest.admission import Admission
from auditflow.journal import Journal
from auditflow.ledger import Ledger
from auditflow.units import readable_size

LOOK_SECONDS: Final = 2.0
LEAST_SECONDS: Final = 0.05
FULL_SPEED: Final = 2**30
"""A journal smaller than this many bytes is looked after more often: it is filled in less time."""
NEED_AT: Final = 0.5
BEHIND_AT: Final = 0.25
"""Shares of `max-size` in use, and waiting for the slowest pipeline, from which room is made."""
RELIEF_SECONDS: Final = 5.0
"""How long room is made before appends are looked at again."""
RELIEF_PAUSE: Final = 20.0
"""For each second that takes, how long it is not done again: it reads the header of every block."""
CHEAP_SECONDS: Final = 0.1
MOST_PAUSES: Final = 20
"""What takes less is done each time, and no more pauses go by than so many: a small journal fills up meanwhile."""
WARN_AT: Final = 0.4
"""Share of `max-size` taken by undelivered events from which the log names the pipeline that is furthest behind."""
TENANT_SHARE: Final = 0.5
"""Share of `max-size` that one tenant's undelivered events may take."""
CROWDED_AT: Final = 0.8
"""Share of `max-size` taken by undelivered events from which those who hold more than the average are refused."""
WARN_SECONDS: Final = 600.0

_log = logging.getLogger(__name__)


class JournalRoom:
    """Looks after the journal's size, `limit` bytes at most. What a tenant may not add, `admission` refuses."""

    def __init__(self, journal: Journal, ledger: Ledger, limit: int, admission: Admission) -> None:
        self._journal, self._ledger, self._limit = journal, ledger, limit
        self._admission = admission
        self._warned = ("", -WARN_SECONDS)
        self._next_relief = 0.0
        self._making: asyncio.Task[None] | None = None
        self.pause = max(LEAST_SECONDS, LOOK_SECONDS * min(1.0, limit / FULL_SPEED))
        """Seconds until it is to be looked after again."""

    async def look_after(self) -> None:
        """Evict what every pipeline has done with; where room gets short, also drop what no pipeline awaits."""
        finished, lowest = self._evict()
        head = self._journal.head()
        size = self._journal.size()
        behind = size * (head - lowest) // max(1, head - self._journal.oldest())
        if size < NEED_AT * self._limit or behind < BEHIND_AT * self._limit:
            self._refuse({})
        elif time.monotonic() >= self._next_relief:
            await self._relieve(finished)

    async def make(self) -> None:
        """Do what can be done at once for an append that found no room; shared by all that wait for it."""
        if self._making is None:
            finished, _ = self._evict()
            if "" in finished:  # all is awaited, and a look at every block would come with every refusal
                return
            self._making = asyncio.create_task(self._relieve(finished))
            self._making.add_done_callback(self._made)
        await asyncio.shield(self._making)

    def _evict(self) -> tuple[dict[str, int], int]:
        """Evict what every pipeline has done with; give how far each tenant's have, and the slowest of them."""
        finished = self._ledger.finished_by_tenant()
        lowest = min(finished.values(), default=self._journal.head())
        self._journal.evict(lowest, int(aging.now() * 1000))
        return finished, lowest

    def _made(self, _: asyncio.Task[None]) -> None:
        self._making = None

    async def _relieve(self, finished: Mapping[str, int]) -> None:
        """Drop what no pipeline awaits out of blocks that some pipeline does; refuse who holds too much all the same."""
        began = time.monotonic()
        if "" not in finished:
            await asyncio.to_thread(self._thin, finished)
        held = await asyncio.to_thread(self._journal.held, finished)
        whole = sum(held.values())
        if whole >= WARN_AT * self._limit:
            self._warn(max(held, key=held.__getitem__), whole)
        self._refuse({} if "" in finished else crowding(held, self._limit))
        ended = time.monotonic()
        took = ended - began
        if took > CHEAP_SECONDS:
            self._next_relief = ended + min(RELIEF_PAUSE * took, MOST_PAUSES * self.pause)

    def _thin(self, finished: Mapping[str, int]) -> None:
        until = time.monotonic() + RELIEF_SECONDS
        while self._journal.thin(finished) and time.monotonic() < until:
            pass

    def _refuse(self, crowds: Mapping[str, int]) -> None:
        """Let the events of these tenants be refused, and those of others no more."""
        over: dict[str, TenantRefused] = {}
        for tenant, size in crowds.items():
            over[tenant] = TenantBacklogFull(
                tenant=tenant,
                size=readable_size(size),
                limit=readable_size(self._limit),
                pipeline=self._slowest(tenant),
            )
        for tenant in over.keys() - self._admission.over.keys():
            _log.warning("publish refused: %s", over[tenant].explained())
        for tenant in self._admission.over.keys() - over.keys():
            _log.info("the events of tenant %s are taken again", tenant)
        self._admission.over = over

    def _warn(self, tenant: str, whole: int) -> None:
        pipeline = self._slowest(tenant)
        named, at = self._warned
        now = time.monotonic()
        if pipeline == named and now - at < WARN_SECONDS:
            return
        self._warned = pipeline, now
        _log.warning(
            "undelivered events take %s of the journal's %s, and pipeline %s is furthest behind; fix its destination "
            "(auditflow status names the fault), or raise journal.max-size",
            readable_size(whole), readable_size(self._limit), pipeline,
        )  # fmt: skip

    def _slowest(self, tenant: str) -> str:
        """Name the pipeline, of those that get the tenant's events, that is furthest behind."""
        accounts = [each for each in self._ledger.accounts() if each.tenant in {"", tenant}]
        return min(accounts, key=lambda each: each.progress.low).pipeline if accounts else "-"


def crowding(held: Mapping[str, int], limit: int) -> dict[str, int]:
    """Give the tenants, with their bytes, that are over their share of `limit` bytes."""
    whole = sum(held.values())
    crowded = whole >= CROWDED_AT * limit
    return {
        tenant: size
        for tenant, size in held.items()
        if size >= TENANT_SHARE * limit or (crowded and size * len(held) >= whole)
    }
