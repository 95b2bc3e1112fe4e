"""Pausing, resuming and forgetting pipelines over HTTP; the delivery process does it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from auditflow.api.tenancy import Calling
from auditflow.ledger.commands import Commands


def router(commands: Commands) -> APIRouter:
    """Build the calls under `/api/v1/pipelines`."""
    routes = APIRouter(prefix="/api/v1/pipelines/{name:path}", tags=["operate"])

    @routes.post("/pause", summary="Let a pipeline's events wait in the journal, also over restarts")
    async def pause(name: str, caller: Calling) -> dict[str, Any]:
        caller.check(name)
        return await commands.ask("pause", pipeline=name, by=caller.by)

    @routes.post("/resume", summary="Let a paused pipeline go on")
    async def resume(name: str, caller: Calling) -> dict[str, Any]:
        caller.check(name)
        return await commands.ask("resume", pipeline=name, by=caller.by)

    @routes.post(
        "/forget", summary="Give up what a pipeline has to deliver that is no longer in the configuration"
    )
    async def forget(name: str, caller: Calling) -> dict[str, Any]:
        caller.check(name)
        return await commands.ask("forget", pipeline=name, by=caller.by)

    return routes
