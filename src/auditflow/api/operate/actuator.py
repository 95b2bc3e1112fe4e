"""Dead letters tenant by tenant, and health, under the paths and in the words that Spring's Actuator has for them."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from auditflow.api.operate.dead_letters import LARGEST_PAGE, Name
from auditflow.api.probes import Check, info_of
from auditflow.api.tenancy import Caller, Calling
from auditflow.event.model import PLATFORM_TENANT, TENANT_PATTERN
from auditflow.ledger import Ledger, Selection
from auditflow.ledger.commands import Commands

TenantId = Annotated[str, Path(alias="tenantId", pattern=f"{TENANT_PATTERN}|^{PLATFORM_TENANT}$")]


class Chosen(BaseModel):
    """Which of a tenant's dead letters, in the query or as JSON; what is not known is refused."""

    model_config = ConfigDict(extra="forbid")

    pipeline: Name | None = None
    """Those of this pipeline; of all if absent."""
    limit: Annotated[int, Field(ge=1, le=LARGEST_PAGE)] | None = None
    """The oldest so many; all if absent."""

    def with_those_of(self, other: Chosen | None) -> Chosen:
        """Add what the body says to what the query says."""
        return self.model_copy(update=other.model_dump(exclude_none=True)) if other else self

    def selection(self, tenant: str, caller: Caller, ledger: Ledger) -> Selection:
        """Select what has failed until now: a dead letter that fails while it is worked on is none of those counted."""
        now = int(time.time() * 1000) + 1
        all_of_them = Selection(tenant=caller.own(tenant), pipeline=self.pipeline, until=now)
        if self.limit is None:
            return all_of_them
        ids = [letter.id for letter in ledger.dead_letters(all_of_them, limit=self.limit)]
        return replace(all_of_them, ids=ids)


def router(ledger: Ledger, commands: Commands) -> APIRouter:
    """Build the calls under `/actuator/dlq`. They count events: one that is dead in two pipelines counts once."""
    routes = APIRouter(prefix="/actuator/dlq/{tenantId}", tags=["operate"])

    @routes.get("", summary="How many events of a tenant are dead letters")
    def inspect(tenant: TenantId, caller: Calling, chosen: Annotated[Chosen, Query()]) -> dict[str, Any]:
        count = ledger.dead_events(chosen.selection(tenant, caller, ledger))
        return {"tenantId": tenant, "messageCount": count, "status": "available"}

    @routes.post("", summary="Deliver a tenant's dead letters again; those whose pipeline does not run stay")
    async def replay_them(
        tenant: TenantId, caller: Calling, chosen: Annotated[Chosen, Query()], more: Chosen | None = None
    ) -> dict[str, Any]:
        selection = chosen.with_those_of(more).selection(tenant, caller, ledger)
        return await carried_out("retriedCount", "replay", tenant, selection, caller, replay={})

    @routes.delete("", summary="Delete a tenant's dead letters")
    async def purge(
        tenant: TenantId, caller: Calling, chosen: Annotated[Chosen, Query()], more: Chosen | None = None
    ) -> dict[str, Any]:
        selection = chosen.with_those_of(more).selection(tenant, caller, ledger)
        return await carried_out("purgedCount", "purge", tenant, selection, caller)

    async def carried_out(
        counted: str, command: str, tenant: str, selection: Selection, caller: Caller, **how: Any
    ) -> dict[str, Any]:
        before = ledger.dead_events(selection)
        await commands.ask(command, selection=asdict(selection), by=caller.by, **how)
        left = ledger.dead_events(selection)
        return {
            "status": "success",
            "tenantId": tenant,
            counted: before - left,
            "requeuedCount": left,
        }

    return routes


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
