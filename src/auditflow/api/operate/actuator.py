"""Dead letters tenant by tenant, and health, under the paths and in the words that Spring's Actuator has for them."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from auditflow.api.probes import Check, info_of
from auditflow.api.tenancy import Caller, Calling
from auditflow.event.model import PLATFORM_TENANT, TENANT_PATTERN
from auditflow.ledger import Ledger, Selection
from auditflow.ledger.commands import Commands

TenantId = Annotated[str, Path(alias="tenantId", pattern=f"{TENANT_PATTERN}|^{PLATFORM_TENANT}$")]


def router(ledger: Ledger, commands: Commands) -> APIRouter:
    """Build the calls under `/actuator/dlq`. They count events: one that is dead in two pipelines counts once."""
    routes = APIRouter(prefix="/actuator/dlq/{tenantId}", tags=["operate"])

    @routes.get("", summary="How many events of a tenant are dead letters")
    def inspect(tenant: TenantId, caller: Calling) -> dict[str, Any]:
        count = ledger.dead_events(_until_now(tenant, caller))
        return {"tenantId": tenant, "messageCount": count, "status": "available"}

    @routes.post("", summary="Deliver a tenant's dead letters again; those whose pipeline does not run stay")
    async def replay(tenant: TenantId, caller: Calling) -> dict[str, Any]:
        return await carried_out("retriedCount", "replay", _until_now(tenant, caller), caller, replay={})

    @routes.delete("", summary="Delete a tenant's dead letters")
    async def purge(tenant: TenantId, caller: Calling) -> dict[str, Any]:
        return await carried_out("purgedCount", "purge", _until_now(tenant, caller), caller)

    async def carried_out(
        counted: str, command: str, selection: Selection, caller: Caller, **how: Any
    ) -> dict[str, Any]:
        before = ledger.dead_events(selection)
        await commands.ask(command, selection=asdict(selection), by=caller.by, **how)
        left = ledger.dead_events(selection)
        return {
            "status": "success",
            "tenantId": selection.tenant,
            counted: before - left,
            "requeuedCount": left,
        }

    return routes


def _until_now(tenant: str, caller: Caller) -> Selection:
    """Select what has failed until now: a dead letter that fails while it is worked on is none of those counted."""
    return Selection(tenant=caller.own(tenant), until=int(time.time() * 1000) + 1)


def health(check: Check) -> APIRouter:
    """Build the probes under `/actuator`."""
    routes = APIRouter(prefix="/actuator", tags=["probes"])

    @routes.get("/health/liveness", summary="The same as /live")
    def liveness() -> dict[str, str]:
        return {"status": "UP"}

    @routes.get("/health/readiness", summary="The same as /ready")
    @routes.get("/health", summary="The same as /health")
    def readiness(response: Response) -> dict[str, str]:
        if not (reason := check()):
            return {"status": "UP"}
        response.status_code = 503
        return {"status": "OUT_OF_SERVICE", "reason": reason}

    @routes.get("/info", summary="The same as /info")
    def info() -> dict[str, str]:
        return info_of("ingest")

    return routes
