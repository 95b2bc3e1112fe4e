"""The server on 8080: the publish path in front, everything else in FastAPI behind it."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from fastapi import Depends, FastAPI, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from auditflow import __version__
from auditflow.api import probes, problems
from auditflow.api.guard import App, Guard, operating_rights
from auditflow.api.operate import actuator, dead_letters, pipelines, reload, replay
from auditflow.api.operate import events as where
from auditflow.api.operate.events import Where
from auditflow.api.operate.metrics import PipelineCollector
from auditflow.api.operate.status import Status
from auditflow.api.reference import docs_page
from auditflow.api.reference.openapi import complete
from auditflow.api.reference.publish_operation import OPERATION, SCHEMAS
from auditflow.api.strict_body import StrictBody
from auditflow.api.tenancy import Calling
from auditflow.ingest.auth import Authenticator
from auditflow.ingest.auth.web_pages import WebPages
from auditflow.ingest.publish import PATHS, Publish
from auditflow.journal import Journal
from auditflow.ledger import Ledger
from auditflow.ledger.commands import Commands
from auditflow.telemetry import metrics


@dataclass(frozen=True, slots=True)
class Operating:
    """What the operating calls work on."""

    status: Status
    ledger: Ledger
    journal: Journal
    commands: Commands
    where: Where
    configuration: Callable[[], dict[str, Any]]
    """Since when the configuration is in force (`loadedAt`), and the problems of a later one."""


def build(  # noqa: PLR0913, PLR0917 - its parts
    publish: Publish,
    operating: Operating,
    check: probes.Check,
    largest_body: int,
    authenticator: Authenticator | None = None,
    pages: WebPages | None = None,
) -> App:
    """Build the ASGI app. Publish calls never enter FastAPI, which would cost more than accepting an event."""
    behind = StrictBody(operations(operating, check), largest_body)

    async def front_door(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] in PATHS:
            await publish(scope, receive, send)
        else:
            await behind(scope, receive, send)

    return Guard(front_door, authenticator, operating_rights, pages)


def operations(operating: Operating, check: probes.Check) -> FastAPI:
    """Build everything but publishing, which is in the OpenAPI document all the same."""
    app = FastAPI(
        title="AuditFlow",
        version=__version__,
        summary="Publish audit events; see what became of them.",
        openapi_tags=[{"name": "publish"}, {"name": "operate"}, {"name": "probes"}],
        docs_url=None,
        redoc_url=None,
    )
    strict = [Depends(problems.refuse_unknown_parameters)]
    app.include_router(probes.router("ingest", check))
    app.include_router(actuator.health(check))
    app.include_router(actuator.router(operating.ledger, operating.commands), dependencies=strict)
    app.include_router(dead_letters.router(operating.ledger, operating.commands), dependencies=strict)
    app.include_router(pipelines.router(operating.commands), dependencies=strict)
    app.include_router(where.router(operating.where), dependencies=strict)
    app.include_router(
        replay.router(operating.journal, operating.where, operating.commands), dependencies=strict
    )
    app.include_router(reload.router(operating.commands), dependencies=strict)
    problems.install(app)
    docs_page.install(app)
    _install_status(app, operating)
    complete(app, more_paths={path: {"post": dict(OPERATION)} for path in sorted(PATHS)}, schemas=SCHEMAS)
    return app


def _install_status(app: FastAPI, operating: Operating) -> None:
    status = operating.status
    collected = CollectorRegistry()
    collected.register(PipelineCollector(status))

    @app.get(
        "/api/v1/status",
        tags=["operate"],
        summary="Per pipeline: state, counts that balance, last error",
        dependencies=[Depends(problems.refuse_unknown_parameters)],
    )
    def read_status(caller: Calling, tenant: str | None = None) -> dict[str, Any]:
        rows = {"pipelines": status.pipelines(caller.own(tenant))}
        if not caller.runs_all:
            return rows
        return rows | {
            "journal": status.journal(),
            "configuration": operating.configuration(),
            "tenants": status.tenants(),
            "redaction": [{"rule": rule, "events": count} for rule, count in metrics.redacted().items()],
        }

    @app.get("/metrics", tags=["operate"], summary="Prometheus metrics", response_class=PlainTextResponse)
    def read_metrics(caller: Calling) -> Response:
        caller.check_runs_all()
        text = generate_latest(metrics.REGISTRY) + generate_latest(collected)
        return Response(text, media_type=CONTENT_TYPE_LATEST)
