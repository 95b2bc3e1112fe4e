"""Gathers the publish calls of one turn of the event loop and serves them in one pass.

A call of its own would bring a task, a coroutine chain, a future and a commit; together they bring one of each.
What one call has wrong is its own answer and never another's.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from auditflow.errors import AuditFlowError, Forbidden, InvalidRequest
from auditflow.ingest.auth import ANYONE, Authenticator
from auditflow.ingest.auth.principal import Principal
from auditflow.ingest.body import JSON, media_type
from auditflow.ingest.decode import Decoded, decode_each
from auditflow.ingest.front.request import STATUS_LINES, Request, accepted, written
from auditflow.ingest.publish import Answer, Call, Publish, conflict
from auditflow.ingest.stamp import Stamp, now_rfc3339
from auditflow.journal import Appended
from auditflow.telemetry import metrics

MOST_REQUESTS: Final = 256
"""Calls of one pass, which holds the event loop for some milliseconds."""

_OK: Final = STATUS_LINES[200]
_log = logging.getLogger(__name__)


class Front:
    """Serves single events in passes. Use from one event loop."""

    def __init__(self, publish: Publish, authenticator: Authenticator | None) -> None:
        self._publish = publish
        self._authenticator = authenticator
        self._waiting: list[Request] = []
        self._passes: set[asyncio.Task[None]] = set()

    def caller(self, headers: Mapping[bytes, bytes], peer: str) -> Principal | None:
        """Give who calls, if that is known at once and may publish; None for a call that has to go the long way."""
        if b"origin" in headers:  # a web page: the guard looks closer
            return None
        if self._authenticator is None:
            return ANYONE
        principal = self._authenticator.known(headers, peer)
        try:
            if principal is not None:
                principal.require(self._authenticator.scopes.publish)
        except Forbidden:
            return None
        return principal

    def add(self, request: Request) -> None:
        """Take a call into the next pass."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._begin)
        self._waiting.append(request)

    def _begin(self) -> None:
        requests, self._waiting = self._waiting[:MOST_REQUESTS], self._waiting[MOST_REQUESTS:]
        loop = asyncio.get_running_loop()
        if self._waiting:
            loop.call_soon(self._begin)
        task = loop.create_task(self._serve(requests))
        self._passes.add(task)
        task.add_done_callback(self._passes.discard)

    async def _serve(self, requests: Sequence[Request]) -> None:
        at = now_rfc3339()
        try:
            decoded = await self._decoded(requests, at)
        except Exception:  # noqa: BLE001 - whatever one of them holds, the others must not suffer from it
            if len(requests) > 1:
                for request in requests:
                    await self._serve([request])
                return
            _log.exception("publish failed")
            self._fail(requests, at, AuditFlowError())
            return
        try:
            appended = await self._publish.append(decoded.batch) if decoded.batch.events else Appended()
        except AuditFlowError as error:
            _log.error("publish refused: %s", error.explained())
            self._fail(requests, at, error)
        except Exception:  # noqa: BLE001 - whatever it is, callers get an answer and the log the cause
            _log.exception("publish failed")
            self._fail(requests, at, AuditFlowError())
        else:
            self._answer(requests, at, decoded, appended)

    async def _decoded(self, requests: Sequence[Request], at: str) -> Decoded:
        """Check, admit and redact the events. One call's event has its place in `requests` as its index."""
        stamps = [Stamp(at, each.correlation_id, each.principal.tenant) for each in requests]
        decoded = decode_each([each.body for each in requests], stamps, self._publish.limits)
        refused = self._publish.admission.admit_each(decoded.batch.tenants)
        return await self._publish.redacted(decoded.less(refused) if refused else decoded)

    def _answer(self, requests: Sequence[Request], at: str, decoded: Decoded, appended: Appended) -> None:
        statuses: Counter[int] = Counter()
        conflicts, duplicates = set(appended.conflicts), appended.duplicates
        for place, (index, event_id) in enumerate(zip(decoded.indexes, decoded.batch.ids, strict=True)):
            request = requests[index]
            call = Call(at, request.correlation_id)
            if place in conflicts:
                _respond(request, Answer(409, call.problem("EVENT_ID_CONFLICT", conflict(event_id))))
                statuses[409] += 1
            else:
                request.respond(_OK, accepted(event_id, call, duplicate=place in duplicates))
        statuses[200] += len(decoded.indexes) - len(conflicts)
        for rejection in decoded.rejected:
            request = requests[rejection.index]
            answer = Call(at, request.correlation_id).failure(rejection.error)
            _respond(request, answer)
            statuses[answer.status] += 1
        metrics.count_events("accepted", len(decoded.indexes) - len(conflicts) - len(duplicates))
        metrics.count_events("duplicate", len(duplicates))
        for status, count in statuses.items():
            metrics.count_request(status, count)

    @staticmethod
    def _fail(requests: Sequence[Request], at: str, error: AuditFlowError) -> None:
        for request in requests:
            answer = Call(at, request.correlation_id).failure(error)
            _respond(request, answer)
            metrics.count_request(answer.status)


def is_single(headers: Mapping[bytes, bytes], body: bytes) -> bool:
    """Tell whether a body is one JSON event as it stands: not several, and neither compressed nor odd."""
    return (
        body[:1] == b"{"
        and b"content-encoding" not in headers
        and _is_json(headers.get(b"content-type", b""))
    )


@lru_cache(maxsize=64)
def _is_json(content_type: bytes) -> bool:
    try:
        return media_type(content_type.decode("latin-1")) == JSON
    except InvalidRequest:
        return False


def _respond(request: Request, answer: Answer) -> None:
    request.respond(STATUS_LINES[answer.status], written(answer, request.correlation_id))
