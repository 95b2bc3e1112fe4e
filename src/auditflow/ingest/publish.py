"""`POST /audit/publish`: a plain ASGI endpoint, because a framework would cost more than the work itself."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from operator import itemgetter
from typing import Any, Final, Protocol

import msgspec
import uuid_utils

from auditflow.errors import (
    AuditFlowError,
    InvalidRequest,
    JournalDamaged,
    JournalFull,
    JournalUnavailable,
    TenantRateLimited,
    TenantRefused,
    TooMuchArriving,
)
from auditflow.ingest.admission import Admission, Provisioned
from auditflow.ingest.auth.principal import ANYONE, Principal
from auditflow.ingest.body import Arriving, ClientGone, Receive, media_type, read, split
from auditflow.ingest.decode import Decoded, decode
from auditflow.ingest.limits import Limits
from auditflow.ingest.redaction.by_tenant import Redacted, Redactions
from auditflow.ingest.redaction.config import RedactionConfig
from auditflow.ingest.stamp import Stamp, now_rfc3339
from auditflow.journal import AppendBatch, Appended, Journal
from auditflow.telemetry import metrics

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PATHS: Final = frozenset({"/audit/publish", "/api/v1/audit/publish"})
RETRY_AFTER_SECONDS: Final = 5
REFUSED_SECONDS: Final = 10.0

_is_correlation_id = re.compile(rb"[a-zA-Z0-9_-]{1,64}").fullmatch
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Answer:
    """Status, body and extra headers of a publish answer."""

    status: int
    body: dict[str, Any]
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Call:
    """What the server knows of one publish call."""

    received_at: str
    correlation_id: str

    def failure(self, error: AuditFlowError) -> Answer:
        """Turn an error into the answer of the wire contract; 429 and 503 say when to come back."""
        if isinstance(error, InvalidRequest):
            headers = [(b"allow", b"POST")] if error.status == HTTPStatus.METHOD_NOT_ALLOWED else []
            return Answer(error.status, self.problem(error.code, str(error)), headers)
        if isinstance(error, TenantRefused):
            wait = _comes_back(error)
            headers = [(b"retry-after", str(wait).encode())] if wait else []
            return Answer(error.status, self.problem(error.code, str(error)), headers)
        if isinstance(error, (JournalFull, JournalUnavailable, JournalDamaged, TooMuchArriving)):
            # the message names sizes and paths of the server: its log is the place for them
            body = self.problem(
                "PUBLISH_FAILED", "The event could not be stored; nothing was accepted. Try again"
            )
            return Answer(503, body, [(b"retry-after", str(RETRY_AFTER_SECONDS).encode())])
        return Answer(500, self.problem("INTERNAL_ERROR", "Something went wrong; nothing was accepted"))

    def problem(self, code: str, message: str) -> dict[str, Any]:
        """Give the body of an error answer."""
        return {
            "code": code,
            "message": message,
            "timestamp": self.received_at,
            "traceId": self.correlation_id,
        }


class Tenant(Provisioned, Redacted, Protocol):
    """What publishing has to know of a tenant."""


class Publish:
    """The endpoint. Answers only when the journal has the events durably."""

    def __init__(
        self,
        journal: Journal,
        limits: Limits,
        admission: Admission | None = None,
        redactions: Redactions | None = None,
    ) -> None:
        """Take in the events that `admission` admits, without it everybody's, redacted as `redactions` say."""
        self.journal = journal
        self.limits = limits
        self.admission = admission or Admission(None)
        self.redactions = redactions or Redactions(RedactionConfig())
        self._arriving = Arriving(limits.arriving_bytes)
        self._refused = ""
        self._refused_at = 0.0

    def provision(self, tenants: Mapping[str, Tenant]) -> None:
        """Put these tenants in force."""
        self.admission.provision(tenants)
        self.redactions.provision(tenants)

    def unavailable(self) -> str:
        """Give why the journal took no events just now; empty while it takes them.

        After some seconds without a new refusal the answer is empty again, so that the next publish can try.
        """
        return self._refused if time.monotonic() - self._refused_at < REFUSED_SECONDS else ""

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        headers = dict(scope["headers"])
        call = Call(now_rfc3339(), correlation(headers.get(b"x-correlation-id", b"")))
        try:
            answer = await self._publish(scope, headers, receive, call)
        except ClientGone:
            return
        except (InvalidRequest, TenantRefused) as error:
            answer = call.failure(error)
        except AuditFlowError as error:
            _log.error("publish refused: %s", error.explained())
            answer = call.failure(error)
        except Exception:  # noqa: BLE001 - whatever it is, the caller gets an answer and the log the cause
            _log.exception("publish failed")
            answer = call.failure(AuditFlowError())
        metrics.count_request(answer.status)
        await _respond(send, answer, call.correlation_id)

    async def _publish(
        self, scope: MutableMapping[str, Any], headers: dict[bytes, bytes], receive: Receive, call: Call
    ) -> Answer:
        if scope["method"] != "POST":
            raise InvalidRequest(status=405, reason=f"{scope['method']} is not allowed here; use POST")
        kind = media_type(headers.get(b"content-type", b"").decode("latin-1"))
        body = await read(receive, headers, self.limits.request_bytes, self._arriving)
        raws, single = split(body, kind, self.limits.request_events)
        stamp = Stamp(call.received_at, call.correlation_id, _tenant_of(scope))
        decoded, appended = await self.accept(raws, stamp)
        if single and decoded.rejected:
            raise decoded.rejected[0].error
        _count(decoded, appended)
        return _one(decoded, appended, call) if single else _several(decoded, appended, call)

    async def accept(self, raws: Sequence[bytes], stamp: Stamp) -> tuple[Decoded, Appended]:
        """Take in what is valid, admitted and redacted of these events. Raises JournalFull, JournalUnavailable."""
        decoded = await self.redacted(self._admitted(decode(raws, stamp, self.limits)))
        return decoded, await self.append(decoded.batch) if decoded.batch.events else Appended()

    def _admitted(self, decoded: Decoded) -> Decoded:
        refused = self.admission.admit(decoded.batch.tenants)
        return decoded.without(refused) if refused else decoded

    async def redacted(self, decoded: Decoded) -> Decoded:
        """Redact all events. One that cannot be is not accepted: it must not be stored as it is."""
        batch = decoded.batch
        batch.events, failed = await self.redactions.redact(batch.events, batch.tenants)
        return decoded.less(failed) if failed else decoded

    async def append(self, batch: AppendBatch) -> Appended:
        """Store the batch; return when it is durable. Raises JournalFull, JournalUnavailable."""
        try:
            appended = await self.journal.append(batch)
        except AuditFlowError as error:
            self._refused, self._refused_at = str(error), time.monotonic()
            raise
        self._refused = ""
        return appended


def _tenant_of(scope: MutableMapping[str, Any]) -> str | None:
    """Give the tenant of who calls, where who calls has one."""
    principal: Principal = scope.get("state", {}).get("principal", ANYONE)
    return principal.tenant


def _one(decoded: Decoded, appended: Appended, call: Call) -> Answer:
    event_id = decoded.batch.ids[0]
    if appended.conflicts:
        return Answer(409, call.problem("EVENT_ID_CONFLICT", conflict(event_id)))
    body = {"eventId": event_id, "timestamp": call.received_at, "duplicate": bool(appended.duplicates)}
    stamps = [(b"x-audit-event-id", event_id.encode()), (b"x-audit-received-at", call.received_at.encode())]
    return Answer(200, body, stamps)


def _several(decoded: Decoded, appended: Appended, call: Call) -> Answer:
    rejected = [{"index": r.index, "code": r.error.code, "message": str(r.error)} for r in decoded.rejected]
    for position in appended.conflicts:
        message = conflict(decoded.batch.ids[position])
        rejected.append({"index": decoded.indexes[position], "code": "EVENT_ID_CONFLICT", "message": message})
    duplicates = len(appended.duplicates)
    accepted = len(decoded.batch.events) - duplicates - len(appended.conflicts)
    body = {
        "accepted": accepted,
        "duplicates": duplicates,
        "rejected": sorted(rejected, key=itemgetter("index")),
    }
    if accepted or duplicates:
        return Answer(200, body)
    refusals = [r.error for r in decoded.rejected if isinstance(r.error, TenantRefused)]
    if refusals and not appended.conflicts:
        answer = call.failure(max(refusals, key=_comes_back))
        return Answer(answer.status, answer.body | body, answer.headers)
    return Answer(400, call.problem("VALIDATION_ERROR", "No event of the request was accepted") | body)


def _comes_back(refusal: TenantRefused) -> int:
    """Give the seconds after which the quota allows it; 0 where waiting does not help."""
    return refusal.retry_after if isinstance(refusal, TenantRateLimited) else 0


def conflict(event_id: str) -> str:
    """Say that an id was used before."""
    return f"An event with eventId {event_id} and other content was accepted before"


def _count(decoded: Decoded, appended: Appended) -> None:
    duplicates, conflicts = len(appended.duplicates), len(appended.conflicts)
    metrics.count_events("accepted", len(decoded.batch.events) - duplicates - conflicts)
    metrics.count_events("duplicate", duplicates)
    metrics.count_events("rejected", len(decoded.rejected) + conflicts)


def correlation(header: bytes) -> str:
    """Give the caller's correlation id where it is well formed, else a new one."""
    return header.decode() if _is_correlation_id(header) else str(uuid_utils.uuid4())


async def _respond(send: Send, answer: Answer, correlation_id: str) -> None:
    body = msgspec.json.encode(answer.body)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-correlation-id", correlation_id.encode()),
        *answer.headers,
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
