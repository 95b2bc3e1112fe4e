"""The server on 8082: deliver to a sink now, once, with the caller's own properties; try a transformer; the registry."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any, Final

import msgspec
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from auditflow import __version__
from auditflow.api import probes, problems
from auditflow.api.guard import App, Guard, sink_service_rights
from auditflow.api.reference import docs_page
from auditflow.api.reference.openapi import ERRORS, complete
from auditflow.api.strict_body import StrictBody
from auditflow.api.tenancy import Calling
from auditflow.errors import AuditFlowError, EgressDenied, PluginNotFound, ReservedEvent
from auditflow.event.model import any_own, encode
from auditflow.ingest.auth import Authenticator
from auditflow.ingest.auth.web_pages import WebPages
from auditflow.ingest.limits import Limits
from auditflow.pipelines.decide.decision import as_events
from auditflow.plugin_call import in_own_thread, text_of
from auditflow.plugins import Catalogue, SinkEntry
from auditflow.settings import faults
from auditflow.sinks._base import Outcome, Sink, Verdict, without_secrets
from auditflow.sinks._egress_policy import EgressPolicy

DELIVERY_SECONDS: Final = 60.0
"""A call that has no answer by then is answered with 504."""
KEPT_SINKS: Final = 32
"""Sinks kept open between calls, by name and properties: clients are dear to make."""

_ERRORS: Final = {
    "404": "There is no such plugin.",
    "422": "A property is wrong, or leads where callers may not; or the transformer failed.",
    "502": "The destination, or the plugin, refused.",
    "503": "The destination is throttling or cannot be reached. See Retry-After.",
    "504": "The destination has not answered in time.",
}

_NOT_OF_A_TENANT: Final = "The sink service delivers with the rights of this installation; this credential acts for one tenant alone"
_INSTEAD: Final = "Publish the event, and let a pipeline of the tenant deliver it."

_log = logging.getLogger(__name__)
_is_name = re.compile(r"[a-zA-Z0-9_]+").fullmatch


class Delivery(BaseModel):
    """What `POST /sink/{name}` takes: one event, or several, and the sink's properties."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    event_data: dict[str, Any] | None = None
    events: list[dict[str, Any]] | None = Field(None, min_length=1, max_length=10_000)
    properties: dict[str, Any] = Field(default_factory=dict)

    def all_events(self) -> list[dict[str, Any]]:
        """Give the events, also when there is just one."""
        return self.events or [self.event_data or {}]


@dataclass(slots=True)
class _Kept:
    """A sink that is open or opening, and how many calls use it now."""

    opening: asyncio.Task[Sink[Any]]
    users: int = 0


class OpenSinks:
    """Sinks made for callers of the service; of those not in use the least recently used are closed."""

    def __init__(self, egress: EgressPolicy | None = None) -> None:
        self._egress = egress or EgressPolicy()
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()

    @contextlib.asynccontextmanager
    async def use(self, entry: SinkEntry, properties: dict[str, Any]) -> AsyncIterator[Sink[Any]]:
        """Give an open sink.

        Raises ValidationError for the properties, EgressDenied for where they lead, and whatever keeps it from opening.
        """
        await self._egress.check(properties)
        key = (entry.name, repr(sorted(properties.items(), key=lambda item: item[0])))
        if key not in self._kept:
            sink = entry.create(entry.parse(properties))
            sink.egress = self._egress
            self._kept[key] = _Kept(asyncio.create_task(_opened(sink)))
        self._kept.move_to_end(key)
        kept = self._kept[key]
        kept.users += 1
        try:
            yield await asyncio.shield(kept.opening)
        finally:
            kept.users -= 1
            if kept.opening.done() and kept.opening.exception() and self._kept.get(key) is kept:
                del self._kept[key]  # the next call tries again
            await self._close_surplus()

    async def close(self) -> None:
        """Close them all."""
        while self._kept:
            await _close(self._kept.popitem()[1])

    async def _close_surplus(self) -> None:
        idle = [key for key, kept in self._kept.items() if not kept.users]
        surplus = [self._kept.pop(key) for key in idle[: max(0, len(self._kept) - KEPT_SINKS)]]
        for kept in surplus:
            await _close(kept)


async def _opened(sink: Sink[Any]) -> Sink[Any]:
    try:
        await sink.open()
    except BaseException:
        with contextlib.suppress(Exception):  # why it did not open is what matters
            await sink.close()
        raise
    return sink


async def _close(kept: _Kept) -> None:
    with contextlib.suppress(Exception):  # nothing can be done about it, and nobody waits for it
        await (await kept.opening).close()


Record = Callable[[Mapping[str, str | None], Mapping[str, object]], None]
"""Puts a delivery on record: who has asked for it, and the facts."""


class SinkService:
    """The calls of the service, over the plugins that were discovered at start; no request imports anything."""

    def __init__(self, catalogue: Catalogue, sinks: OpenSinks, record: Record | None = None) -> None:
        self._catalogue = catalogue
        self._sinks = sinks
        self._record = record

    def registry(self) -> dict[str, Any]:
        """List sinks and transformers, and the plugins that could not be loaded."""
        catalogue = self._catalogue
        catalogue.check_all()
        return {
            "sinks": [
                _entry(entry, [asdict(p) for p in entry.properties()]) for entry in catalogue.sinks.values()
            ],
            "transformers": [_entry(entry, []) for entry in catalogue.transformers.values()],
            "errors": [
                {"kind": broken.kind, "id": broken.name, "path": broken.origin, "error": broken.reason}
                for broken in catalogue.broken
            ],
        }

    async def deliver(self, name: str, delivery: Delivery, caller: Calling, request: Request) -> JSONResponse:
        """Deliver now, once, with the rights of this installation; what came of it is put on record."""
        answer = await self._delivered(name, delivery, caller, request)
        if self._record is not None and _is_name(name):
            facts = {"sink": name, "count": len(delivery.all_events()), **_came_of_it(answer)}
            await asyncio.to_thread(self._record, caller.by, facts)
        return answer

    async def _delivered(
        self, name: str, delivery: Delivery, caller: Calling, request: Request
    ) -> JSONResponse:
        if not _is_name(name):
            return _bad_name(request)
        if not caller.runs_all:
            return problems.problem(request, 403, "FORBIDDEN", _NOT_OF_A_TENANT, hint=_INSTEAD)
        if _any_looks_own(delivery.all_events()):
            error = ReservedEvent()
            return problems.problem(request, 403, error.code, str(error), hint=error.hint)
        if (delivery.event_data is None) == (delivery.events is None):
            return problems.problem(request, 400, "VALIDATION_ERROR", "Give either event_data or events")
        try:
            entry = self._catalogue.get_sink(name)
            async with asyncio.timeout(DELIVERY_SECONDS), self._sinks.use(entry, delivery.properties) as sink:
                outcomes = without_secrets(await sink.deliver(list(map(encode, delivery.all_events()))))
        except Exception as error:  # noqa: BLE001 - whatever a sink raises, the caller gets an answer
            return _no_delivery(request, name, error)
        return _answer(request, name, sink, outcomes, single=delivery.events is None)

    async def transform(self, name: str, event: dict[str, Any], request: Request) -> JSONResponse:
        """See what a transformer makes of an event."""
        if not _is_name(name):
            return _bad_name(request)
        try:
            function = self._catalogue.get_transformer(name).function()
        except AuditFlowError as error:
            return problems.problem(request, 404, error.code, str(error), hint=error.hint)
        try:
            result = await in_own_thread(function, event, {})
            as_events(result)
            return JSONResponse(result)
        except Exception as error:  # noqa: BLE001 - whatever it raises is what the caller wants to know
            reason = f"{name} raised {type(error).__name__}: {text_of(error)}"
            return problems.problem(request, 422, "TRANSFORM_FAILED", reason)


def build(
    service: SinkService,
    check: probes.Check,
    max_request_bytes: int = Limits().request_bytes,
    authenticator: Authenticator | None = None,
    pages: WebPages | None = None,
) -> App:
    """Build the ASGI app."""
    app = FastAPI(title="AuditFlow sink service", version=__version__, docs_url=None, redoc_url=None)
    app.include_router(probes.router("sink-service", check))
    problems.install(app)
    docs_page.install(app)
    app.get("/registry", summary="Sinks, transformers, and plugins that failed to load")(service.registry)
    app.post("/sink/{name}", summary="Deliver to a sink now, once")(service.deliver)
    app.post("/transform/{name}", summary="See what a transformer makes of an event")(service.transform)
    complete(app, ERRORS | _ERRORS)
    return Guard(StrictBody(app, max_request_bytes), authenticator, sink_service_rights, pages)


def _any_looks_own(events: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether one could be taken for an event of AuditFlow's own audit, which nobody else may write."""
    sources, types = (
        {str(event.get(name, "")) for event in events} for name in ("sourceSystem", "eventType")
    )
    return any_own(sources, types)


def _came_of_it(answer: JSONResponse) -> dict[str, str]:
    """Give the outcome for the record. The reason is the code alone: a message may repeat what an event holds."""
    if answer.status_code == HTTPStatus.OK:
        return {"outcome": "success"}
    body: dict[str, Any] = msgspec.json.decode(bytes(answer.body))
    return {"outcome": "refused", "reason": body["code"]}


def _bad_name(request: Request) -> JSONResponse:
    return problems.problem(
        request, 400, "VALIDATION_ERROR", "An id has only letters, digits and underscores"
    )


def _entry(entry: Any, properties: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": entry.name,
        "type": entry.origin,
        "version": entry.version,
        "description": entry.description,
        "properties": properties,
    }


def _bad_properties(request: Request, error: ValidationError) -> JSONResponse:
    """Name every bad property; never its value, which may be a secret."""
    found = [
        {"property": ".".join(map(str, fault.where)), "message": fault.message, "hint": fault.hint}
        for fault in faults(error)
    ]
    message = "; ".join(f"{item['property']}: {item['message']}".removeprefix(": ") for item in found)
    return problems.problem(request, 422, "INVALID_PROPERTIES", message, properties=found)


def _no_delivery(request: Request, name: str, error: Exception) -> JSONResponse:
    """Answer for a sink that gave no outcomes. What a plugin's exception says may hold a secret: its log has it."""
    match error:
        case ValidationError():
            return _bad_properties(request, error)
        case AuditFlowError():
            status = {PluginNotFound: 404, EgressDenied: 422}.get(type(error), 502)
            return problems.problem(request, status, error.code, str(error), hint=error.hint)
        case TimeoutError():
            message = f"The destination has not answered within {DELIVERY_SECONDS:.0f} seconds"
            return problems.problem(request, 504, "DELIVERY_TIMED_OUT", message)
    _log.error("%s raised instead of answering", name, exc_info=error)
    message = f"{name} raised {type(error).__name__}; the log of the sink service says more"
    return problems.problem(request, 502, "SINK_FAILED", message)


def _answer(
    request: Request, name: str, sink: Sink[Any], outcomes: Sequence[Outcome], *, single: bool
) -> JSONResponse:
    """Answer 200 when anything was delivered, else by what the first event met."""
    sent = sum(outcome.verdict is Verdict.DELIVERED for outcome in outcomes)
    if not sent:
        return _failure(request, outcomes[0], [] if single else outcomes)
    where = next(_plain(outcome.where) for outcome in outcomes if outcome.verdict is Verdict.DELIVERED)
    result = {"sent": sent, "destination": sink.destination} | where
    if not single:
        result["outcomes"] = [_outcome(outcome) for outcome in outcomes]
    message = f"{sent} of {len(outcomes)} events delivered to {sink.destination}"
    return JSONResponse({"status": "success", "sink": name, "message": message, "result": result})


def _plain(where: Mapping[str, object]) -> dict[str, Any]:
    """Make JSON of what a drop-in sink has answered, which may be anything."""
    try:
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(where, enc_hook=repr))
    except Exception:  # noqa: BLE001 - the event is delivered, whatever its sink says of it
        return {}
    return plain


def _failure(request: Request, outcome: Outcome, outcomes: Sequence[Outcome]) -> JSONResponse:
    status, headers = 502, {}
    if outcome.verdict is Verdict.RETRY:
        timed_out = outcome.ambiguous and "timed out" in outcome.reason.lower()
        status = 504 if timed_out else 503
        headers = {} if timed_out else {"Retry-After": str(max(1, round(outcome.retry_after)))}
    more: dict[str, Any] = {"hint": outcome.hint}
    if outcomes:
        more["outcomes"] = [_outcome(each) for each in outcomes]
    return problems.problem(request, status, outcome.code, outcome.reason, headers, **more)


def _outcome(outcome: Outcome) -> dict[str, Any]:
    row: dict[str, Any] = {"verdict": outcome.verdict.value}
    if outcome.verdict is not Verdict.DELIVERED:
        row |= {"code": outcome.code, "message": outcome.reason, "hint": outcome.hint}
    return row
