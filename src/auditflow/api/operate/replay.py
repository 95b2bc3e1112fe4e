"""Replay over HTTP: what the journal still retains of a time goes to a pipeline once more."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final
from uuid import uuid4

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from auditflow.api.operate.events import Where
from auditflow.api.tenancy import Calling
from auditflow.api.times import Time, rfc3339
from auditflow.config import Running
from auditflow.journal import Journal
from auditflow.ledger.commands import Commands, no_such_pipeline
from auditflow.ledger.tenant_counts import others
from auditflow.pipelines.decide.decision import Decide
from auditflow.pipelines.decide.filter import compile_filter
from auditflow.pipelines.read.slice import tenant_slice

COUNT_SECONDS: Final = 5.0
"""A dry run looks at events for so long; what a pipeline takes of the rest it does not say."""
READ_BYTES: Final = 8 * 2**20


class Replay(BaseModel):
    """Which events, and what is to take them."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    pipeline: str = Field(min_length=1)
    since: Time
    """Accepted at or after this time."""
    until: Time | None = None
    """Accepted before this time; now if absent."""
    dry_run: bool = Field(default=False, alias="dryRun")
    """Say how many, and do nothing."""


def router(journal: Journal, where: Where, commands: Commands) -> APIRouter:
    """Build the call that replays from the journal. `where` knows the pipelines."""
    routes = APIRouter(prefix="/api/v1", tags=["operate"])

    @routes.post("/replay", summary="Deliver to a pipeline, once more, what the journal retains of a time")
    async def replay(order: Replay, caller: Calling) -> dict[str, Any]:
        caller.check(order.pipeline)
        since, until = _milliseconds(order)
        running = await asyncio.to_thread(_pipeline, where, order.pipeline)
        stretch = journal.between(since, until)
        events = len(stretch) - await asyncio.to_thread(others, journal, running.tenant, stretch)
        if not events:
            raise HTTPException(409, _nothing(journal))
        answer: dict[str, Any] = {"pipeline": order.pipeline, "events": events}
        if order.dry_run:
            return answer | await asyncio.to_thread(_counted, journal, stretch, running, events)
        asked = str(uuid4())
        values = {"pipeline": order.pipeline, "since": since, "until": until, "asked": asked, "by": caller.by}
        return answer | await commands.ask("deliver-again", **values)

    return routes


def _milliseconds(order: Replay) -> tuple[int, int]:
    since = int(order.since.timestamp() * 1000)
    until = int((order.until.timestamp() if order.until else time.time() + 1) * 1000)
    if until <= since:
        raise HTTPException(400, "until: it has to be after since")
    return since, until


def _pipeline(where: Where, name: str) -> Running:
    running = where.pipelines()
    if name not in running:
        raise HTTPException(404, no_such_pipeline(name, running))
    return running[name]


def _nothing(journal: Journal) -> str:
    oldest = journal.appended_at(journal.oldest())
    if oldest is None:
        return "The journal retains no event; journal.retention says how long it keeps them"
    return f"The journal retains no event of that time; its oldest was accepted at {rfc3339(oldest)}"


def _counted(journal: Journal, stretch: range, running: Running, events: int) -> dict[str, int]:
    """Count what condition and sampling take; `looked` is how many of its `events` that is of."""
    decide = Decide(compile_filter(running.config.condition, running.config.sample))
    if decide.trivial:
        return {"looked": events, "matching": events}
    deadline = time.monotonic() + COUNT_SECONDS
    at, looked, matching = stretch.start, 0, 0
    while at < stretch.stop and time.monotonic() < deadline:
        blocks = journal.read(at, READ_BYTES, running.tenant)
        if not blocks:
            break
        for each in (
            tenant_slice(block, running.tenant).from_on(at).before(stretch.stop) for block in blocks
        ):
            looked += len(each.sequences)
            if not each.damage:
                matching += len(decide(each.sequences, each.events).events)
        at = blocks[-1].end
    return {"looked": looked if at < stretch.stop else events, "matching": matching}
