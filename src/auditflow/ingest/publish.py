"""`POST /audit/publish`: a plain ASGI endpoint, because a framework would cost more than the work itself."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, Final, Protocol

import msgspec
import uuid_utils

from auditflow.errors import (
    AuditFlowError,
    InvalidRequest,
    JournalFull,
    TenantRefused,
)
from auditflow.ingest.admission import Admission, Provisioned
from auditflow.ingest.answer import Answer, Call, count_events, outcome_of
from auditflow.ingest.auth.principal import ANYONE, Principal
from auditflow.ingest.body import Arriving, ClientGone, Receive, media_type, read, split
from auditflow.ingest.decode import Decoded, decode, joined
from auditflow.ingest.limits import Limits
from auditflow.ingest.redaction.by_tenant import Redacted, Redactions
from auditflow.ingest.redaction.config import RedactionConfig
from auditflow.ingest.stamp import Stamp, now_rfc3339
from auditflow.journal import AppendBatch, Appended, Journal
from auditflow.telemetry import metrics

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PATHS: Final = frozenset({"/audit/publish", "/api/v1/audit/publish"})
REFUSED_SECONDS: Final = 10.0
AT_ONCE: Final = 1_000
"""Events of one request that are decoded before others have their turn."""

_is_correlation_id = re.compile(rb"[a-zA-Z0-9_-]{1,64}").fullmatch
_log = logging.getLogger(__name__)


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
        self.make_room: Callable[[], Awaitable[None]] | None = None
        """What may help when the journal is full."""
        self._refused = ""
        self._refused_at = 0.0
        self._told, self._told_at = "", 0.0

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
            self.tell(error)
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
        outcome = outcome_of(decoded, appended)
        count_events(decoded, appended)
        return outcome.one(call) if single else outcome.several(call)

    async def accept(self, raws: Sequence[bytes], stamp: Stamp) -> tuple[Decoded, Appended]:
        """Take in what is valid, admitted and redacted of these events. Raises JournalFull, JournalUnavailable."""
        decoded = await self.redacted(self._admitted(await self._decoded(raws, stamp)))
        return decoded, await self.append(decoded.batch) if decoded.batch.events else Appended()

    def tell(self, error: AuditFlowError) -> None:
        """Log why events are refused; the same again only after a while, for every call of every client may be."""
        told, now = error.explained(), time.monotonic()
        if told != self._told or now - self._told_at >= REFUSED_SECONDS:
            self._told, self._told_at = told, now
            _log.error("publish refused: %s", told)

    async def _decoded(self, raws: Sequence[bytes], stamp: Stamp) -> Decoded:
        """Decode as many events at once as takes some milliseconds, and let others have their turn in between."""
        parts = [decode(raws[:AT_ONCE], stamp, self.limits)]
        for start in range(AT_ONCE, len(raws), AT_ONCE):
            await asyncio.sleep(0)
            parts.append(decode(raws[start : start + AT_ONCE], stamp, self.limits).behind(start))
        return joined(parts)

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
            appended = await self._append(batch)
        except AuditFlowError as error:
            self._refused, self._refused_at = str(error), time.monotonic()
            raise
        self._refused = ""
        return appended

    async def _append(self, batch: AppendBatch) -> Appended:
        try:
            return await self.journal.append(batch)
        except JournalFull:
            if self.make_room is None:
                raise
            await self.make_room()
            return await self.journal.append(batch)


def _tenant_of(scope: MutableMapping[str, Any]) -> str | None:
    """Give the tenant of who calls, where who calls has one."""
    principal: Principal = scope.get("state", {}).get("principal", ANYONE)
    return principal.tenant


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
