"""Reloading the configuration over HTTP; the delivery process does it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from auditflow.api.tenancy import Calling
from auditflow.ledger.commands import Commands


def router(commands: Commands) -> APIRouter:
    """Build the call that reloads."""
    routes = APIRouter(prefix="/api/v1", tags=["operate"])

    @routes.post("/reload", summary="Put the configuration file, as it is now, in force: whole or not at all")
    async def reload(caller: Calling) -> dict[str, Any]:
        caller.check_runs_all()
        return await commands.ask("reload", by=caller.by)

    return routes
