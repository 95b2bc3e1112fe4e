"""The sink service of a delivery process, which is built when the first call arrives.

What it is made of takes half of the time and a quarter of the memory of a start, and few installations ever call it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Final

from auditflow.config import Config
from auditflow.ingest.auth import Authenticator
from auditflow.ingest.auth.web_pages import web_pages_of
from auditflow.ingest.operator_audit import By, OperatorAudit
from auditflow.plugins import Catalogue
from auditflow.sinks._egress_policy import LOOPBACK, EgressPolicy

if TYPE_CHECKING:
    from auditflow.api.guard import App
    from auditflow.api.sink_service import OpenSinks

JSON: Final = [(b"content-type", b"application/json"), (b"content-length", b"18")]

DELIVERED: Final = "sink-service.called"
"""Rest of the type of the event that puts a delivery on record."""

Build = Callable[[], tuple["App", "OpenSinks"]]


class OnDemand:
    """ASGI app that builds another one for its first request, in a thread: delivery goes on meanwhile."""

    def __init__(self, build: Build) -> None:
        self._build = build
        self._building = asyncio.Lock()
        self._built: tuple[App, OpenSinks] | None = None

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Serve one request. That the process is alive, it says itself: the supervisor asks every few seconds."""
        if scope["type"] == "http" and scope["method"] == "GET" and scope["path"] == "/live":
            await send({"type": "http.response.start", "status": 200, "headers": JSON})
            await send({"type": "http.response.body", "body": b'{"status":"alive"}'})
            return
        async with self._building:
            if self._built is None:
                self._built = await asyncio.to_thread(self._build)
        app, _ = self._built
        await app(scope, receive, send)

    async def close(self) -> None:
        """Close the sinks that are open."""
        if self._built is not None:
            await self._built[1].close()


def sink_service(
    config: Config, catalogue: Catalogue, authenticator: Authenticator | None, own: OperatorAudit
) -> OnDemand:
    """Give the sink service of this configuration; what it delivers is put on record."""

    def record(by: By, facts: Mapping[str, object]) -> None:
        own.note(DELIVERED, by, **facts)

    def built() -> tuple[App, OpenSinks]:
        from auditflow.api.sink_service import OpenSinks, SinkService, build

        # without auth it is bound to loopback, and its callers are here as well
        here = LOOPBACK if config.auth is None else ()
        sinks = OpenSinks(EgressPolicy((*config.server.sink_service_may_reach, *here)))
        service = SinkService(catalogue, sinks, record)
        pages = web_pages_of(config.server.hosts, config.auth)
        return build(service, lambda: "", config.server.max_request_bytes, authenticator, pages), sinks

    return OnDemand(built)
