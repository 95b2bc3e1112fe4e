"""A publish call that has arrived whole, and how its answer is written."""
# Tested in tests/ingest/front/test_front.py.

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import msgspec

from auditflow.ingest.answer import Answer, Call
from auditflow.ingest.auth.principal import Principal

STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}


@dataclass(slots=True)
class Request:
    """One publish call."""

    events: Sequence[bytes]
    single: bool
    """Whether it was one event as it stood, and not a list of one."""
    principal: Principal
    correlation_id: str
    respond: Callable[[bytes, bytes], None]
    """Takes the status line and the answer's own headers with its body; what all answers have comes between."""


def accepted(event_id: str, call: Call, *, duplicate: bool) -> bytes:
    """Write the answer to a single event: the one that goes out by the thousands in a second."""
    body = b'{"eventId":"%b","timestamp":"%b","duplicate":%b}' % (
        event_id.encode(), call.received_at.encode(), b"true" if duplicate else b"false",
    )  # fmt: skip
    return (
        b"content-type: application/json\r\ncontent-length: %d\r\nx-correlation-id: %b\r\n"
        b"x-audit-event-id: %b\r\nx-audit-received-at: %b\r\n\r\n%b"
    ) % (len(body), call.correlation_id.encode(), event_id.encode(), call.received_at.encode(), body)


def written(answer: Answer, correlation_id: str) -> bytes:
    """Write any answer."""
    body = msgspec.json.encode(answer.body)
    lines = b"".join([b"%b: %b\r\n" % header for header in answer.headers])
    return b"content-type: application/json\r\ncontent-length: %d\r\nx-correlation-id: %b\r\n%b\r\n%b" % (
        len(body),
        correlation_id.encode(),
        lines,
        body,
    )
