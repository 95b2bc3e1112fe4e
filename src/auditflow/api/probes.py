"""`/live`, `/ready`, `/health` and `/info`, alike for both servers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Response

from auditflow import __version__

Check = Callable[[], str]
"""Gives why the process is not ready; empty when it is."""


def router(role: str, check: Check) -> APIRouter:
    """Build the probes of a process in the given role."""
    started = time.time()
    routes = APIRouter(tags=["probes"])

    @routes.get("/live", summary="Is the process alive?")
    def live() -> dict[str, str]:
        return {"status": "alive"}

    @routes.get("/ready", summary="Can it take work now? 503 when not, with the reason")
    def ready(response: Response) -> dict[str, str]:
        reason = check()
        if reason:
            response.status_code = 503
            return {"status": "not ready", "reason": reason}
        return {"status": "ready"}

    @routes.get("/health", summary="The same as /ready, with the process's age")
    def health(response: Response) -> dict[str, Any]:
        return {**ready(response), "role": role, "uptimeSeconds": round(time.time() - started, 1)}

    @routes.get("/info", summary="What runs here")
    def info() -> dict[str, str]:
        return info_of(role)

    return routes


def info_of(role: str) -> dict[str, str]:
    """Say what runs in a process of this role."""
    return {"name": "auditflow", "version": __version__, "role": role}
