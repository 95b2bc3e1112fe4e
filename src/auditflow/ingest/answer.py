"""What became of the events of a request, and the answer that says it."""
# Tested in tests/ingest/test_publish.py.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from operator import itemgetter
from typing import Any, Final

from auditflow.errors import (
    AuditFlowError,
    InvalidRequest,
    JournalDamaged,
    JournalFull,
    JournalUnavailable,
    TenantBacklogFull,
    TenantRateLimited,
    TenantRefused,
    TooMuchArriving,
)
from auditflow.ingest.decode import Decoded, Rejection
from auditflow.journal import Appended
from auditflow.telemetry import metrics

RETRY_AFTER_SECONDS: Final = 5


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


@dataclass(slots=True)
class Outcome:
    """What became of the events of one request."""

    event_id: str = ""
    """Of its first event that is valid."""
    accepted: int = 0
    duplicates: int = 0
    rejected: list[Rejection] = field(default_factory=list)
    conflicts: list[tuple[int, str]] = field(default_factory=list)
    """Index in the request and id of events whose id is known with other content."""

    def one(self, call: Call) -> Answer:
        """Answer a request that was a single event."""
        if self.rejected:
            return call.failure(self.rejected[0].error)
        if self.conflicts:
            return Answer(409, call.problem("EVENT_ID_CONFLICT", _conflict(self.event_id)))
        at, event_id = call.received_at, self.event_id
        body = {"eventId": event_id, "timestamp": at, "duplicate": bool(self.duplicates)}
        return Answer(
            200, body, [(b"x-audit-event-id", event_id.encode()), (b"x-audit-received-at", at.encode())]
        )

    def several(self, call: Call) -> Answer:
        """Answer a request that was a list of events, even of one."""
        rejected = [{"index": r.index, "code": r.error.code, "message": str(r.error)} for r in self.rejected]
        rejected += [
            {"index": index, "code": "EVENT_ID_CONFLICT", "message": _conflict(event_id)}
            for index, event_id in self.conflicts
        ]
        body = {
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "rejected": sorted(rejected, key=itemgetter("index")),
        }
        if self.accepted or self.duplicates:
            return Answer(200, body)
        refusals = [r.error for r in self.rejected if isinstance(r.error, TenantRefused)]
        if refusals and not self.conflicts:
            answer = call.failure(max(refusals, key=_comes_back))
            return Answer(answer.status, answer.body | body, answer.headers)
        return Answer(400, call.problem("VALIDATION_ERROR", "No event of the request was accepted") | body)


def outcome_of(decoded: Decoded, appended: Appended) -> Outcome:
    """Say what became of the events of one request."""
    ids, indexes = decoded.batch.ids, decoded.indexes
    conflicts = [(indexes[place], ids[place]) for place in appended.conflicts]
    duplicates = len(appended.duplicates)
    accepted = len(ids) - duplicates - len(conflicts)
    return Outcome(ids[0] if ids else "", accepted, duplicates, decoded.rejected, conflicts)


def outcomes_of(
    decoded: Decoded, appended: Appended, owners: Sequence[tuple[int, int]]
) -> dict[int, Outcome]:
    """Say it of several requests; `owners` has, for each event, the request's number and the index there."""
    found: dict[int, Outcome] = {number: Outcome() for number, _ in owners}
    conflicts = set(appended.conflicts)
    for place, (at, event_id) in enumerate(zip(decoded.indexes, decoded.batch.ids, strict=True)):
        number, index = owners[at]
        outcome = found[number]
        outcome.event_id = outcome.event_id or event_id
        if place in conflicts:
            outcome.conflicts.append((index, event_id))
        elif place in appended.duplicates:
            outcome.duplicates += 1
        else:
            outcome.accepted += 1
    for rejection in decoded.rejected:
        number, index = owners[rejection.index]
        found[number].rejected.append(Rejection(index, rejection.error))
    return found


def count_events(decoded: Decoded, appended: Appended) -> None:
    """Count what became of events."""
    duplicates, conflicts = len(appended.duplicates), len(appended.conflicts)
    metrics.count_events("accepted", len(decoded.batch.events) - duplicates - conflicts)
    metrics.count_events("duplicate", duplicates)
    metrics.count_events("rejected", len(decoded.rejected) + conflicts)


def _comes_back(refusal: TenantRefused) -> int:
    """Give the seconds after which it may be tried again; 0 where waiting does not help."""
    if isinstance(refusal, TenantBacklogFull):
        return RETRY_AFTER_SECONDS
    return refusal.retry_after if isinstance(refusal, TenantRateLimited) else 0


def _conflict(event_id: str) -> str:
    return f"An event with eventId {event_id} and other content was accepted before"
