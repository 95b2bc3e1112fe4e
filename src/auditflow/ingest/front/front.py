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
from auditflow.ingest.answer import Answer, Call, Outcome, count_events, outcomes_of
from auditflow.ingest.auth import ANYONE, Authenticator
from auditflow.ingest.auth.principal import Principal
from auditflow.ingest.auth.web_pages import WebPages
from auditflow.ingest.body import BOM, media_type, split
from auditflow.ingest.decode import Decoded, decode_each
from auditflow.ingest.front.request import STATUS_LINES, Request, accepted, written
from auditflow.ingest.publish import Publish
from auditflow.ingest.stamp import Stamp, now_rfc3339
from auditflow.journal import Appended
from auditflow.telemetry import metrics

MOST_REQUESTS: Final = 256
"""Calls of one pass, which holds the event loop for some milliseconds."""

_OK: Final = STATUS_LINES[200]
_log = logging.getLogger(__name__)


class Front:
    """Serves small publish calls in passes. Use from one event loop."""

    def __init__(
        self, publish: Publish, authenticator: Authenticator | None, pages: WebPages | None = None
    ) -> None:
        self._publish = publish
        self._pages = pages
        self._authenticator = authenticator
        self._waiting: list[Request] = []
        self._passes: set[asyncio.Task[None]] = set()

    @property
    def most_events(self) -> int:
        """Events that one call may hold."""
        return self._publish.limits.request_events

    def caller(self, headers: Mapping[bytes, bytes], peer: str) -> Principal | None:
        """Give who calls, if that is known at once and may publish; None for a call that has to go the long way."""
        if self._pages is not None and not self._pages.harmless(headers):
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
        owners, raws, stamps = _events_of(requests, at)
        try:
            decoded = await self._decoded(raws, stamps, owners)
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
            self._publish.tell(error)
            self._fail(requests, at, error)
        except Exception:  # noqa: BLE001 - whatever it is, callers get an answer and the log the cause
            _log.exception("publish failed")
            self._fail(requests, at, AuditFlowError())
        else:
            count_events(decoded, appended)
            self._answer(requests, at, outcomes_of(decoded, appended, owners))

    async def _decoded(
        self, raws: Sequence[bytes], stamps: Sequence[Stamp], owners: Sequence[tuple[int, int]]
    ) -> Decoded:
        """Check, admit and redact the events; what is rejected has its place in `raws` as index."""
        decoded = decode_each(raws, stamps, self._publish.limits)
        numbers = [owners[index][0] for index in decoded.indexes]
        refused = self._publish.admission.admit_each(decoded.batch.tenants, numbers)
        return await self._publish.redacted(decoded.less(refused) if refused else decoded)

    @staticmethod
    def _answer(requests: Sequence[Request], at: str, outcomes: Mapping[int, Outcome]) -> None:
        statuses: Counter[int] = Counter()
        for number, outcome in outcomes.items():
            request = requests[number]
            call = Call(at, request.correlation_id)
            if request.single and not outcome.rejected and not outcome.conflicts:
                request.respond(_OK, accepted(outcome.event_id, call, duplicate=bool(outcome.duplicates)))
                statuses[200] += 1
            else:
                answer = outcome.one(call) if request.single else outcome.several(call)
                _respond(request, answer)
                statuses[answer.status] += 1
        for status, count in statuses.items():
            metrics.count_request(status, count)

    @staticmethod
    def _fail(requests: Sequence[Request], at: str, error: AuditFlowError) -> None:
        for request in requests:
            answer = Call(at, request.correlation_id).failure(error)
            _respond(request, answer)
            metrics.count_request(answer.status)


def _events_of(
    requests: Sequence[Request], at: str
) -> tuple[list[tuple[int, int]], list[bytes], list[Stamp]]:
    """Give the events of all requests: whose and which each is, its bytes, and what the server says of it."""
    owners: list[tuple[int, int]] = []
    raws: list[bytes] = []
    stamps: list[Stamp] = []
    for number, request in enumerate(requests):
        stamp = Stamp(at, request.correlation_id, request.principal.tenant)
        for index, raw in enumerate(request.events):
            owners.append((number, index))
            raws.append(raw)
            stamps.append(stamp)
    return owners, raws, stamps


def events_of(headers: Mapping[bytes, bytes], body: bytes, most: int) -> tuple[list[bytes], bool] | None:
    """Cut a body into its events, and say whether it is a single one; None for what has to go the long way."""
    kind = _kind(headers.get(b"content-type", b""))
    if not kind or b"content-encoding" in headers:
        return None
    try:
        return split(body.removeprefix(BOM), kind, most)
    except InvalidRequest:
        return None


@lru_cache(maxsize=64)
def _kind(content_type: bytes) -> str:
    try:
        return media_type(content_type.decode("latin-1"))
    except InvalidRequest:
        return ""


def _respond(request: Request, answer: Answer) -> None:
    request.respond(STATUS_LINES[answer.status], written(answer, request.correlation_id))
