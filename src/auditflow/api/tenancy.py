"""Who calls, and what is its own: a caller with a tenant sees and operates that tenant's things and no others.

What belongs to others it cannot tell from what is not there. `_platform` is the tenant of those who run the
installation: to them also belongs what concerns it as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request

from auditflow.api.identity import identity
from auditflow.event.model import PLATFORM_TENANT
from auditflow.ingest.auth import ANYONE, Principal


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever makes a call."""

    actor: str
    """Its name for the record."""
    tenant: str | None
    """Its own tenant; None for one that acts for every tenant."""
    peer: str
    """Its address; empty where it is not known."""

    @property
    def by(self) -> dict[str, str | None]:
        """What the record says of it."""
        return {"actor": self.actor, "actorTenant": self.tenant, "peer": self.peer}

    @property
    def runs_all(self) -> bool:
        """Whether what concerns the installation as a whole is its own."""
        return self.tenant in {None, PLATFORM_TENANT}

    def own(self, asked: str | None = None) -> str | None:
        """Give the tenant to select by, where it has asked for this one. Raises HTTPException for another's."""
        if self.tenant is None:
            return asked
        if asked not in {None, self.tenant}:
            raise HTTPException(403, f"This credential acts for the tenant {self.tenant} alone")
        return self.tenant

    def check(self, pipeline: str | None) -> None:
        """Raise HTTPException for the pipeline of another, whether there is one of that name or not."""
        if self.tenant and pipeline is not None and identity(pipeline)["tenant"] != self.tenant:
            raise HTTPException(404, f"No pipeline named {pipeline!r} runs")

    def without_numbers(self, row: dict[str, Any]) -> dict[str, Any]:
        """Give a row without its `sequence` to a caller of one tenant: the numbers tell how much others publish."""
        return row if self.runs_all else row | {"sequence": None}

    def check_runs_all(self) -> None:
        """Raise HTTPException for a caller of one tenant."""
        if not self.runs_all:
            raise HTTPException(
                403, f"This credential acts for the tenant {self.tenant} alone; this concerns all"
            )


def _caller(request: Request) -> Caller:
    principal: Principal = getattr(request.state, "principal", ANYONE)
    return Caller(principal.name, principal.tenant, request.client.host if request.client else "")


Calling = Annotated[Caller, Depends(_caller)]
"""The caller, as handlers take it."""
