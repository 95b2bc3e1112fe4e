"""Puts the server's fields into accepted events: in front of their bytes, without taking them apart.

Only what the client wrote where the server must write (`timestamp`, null ids, another tenant) is taken apart.
"""
# Tested in tests/ingest/test_decode.py.

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from msgspec import UNSET, Raw

from auditflow.event.model import Header
from auditflow.event.time import epoch_ms

_fields = msgspec.json.Decoder(dict[str, Raw])


@dataclass(frozen=True, slots=True)
class Stamp:
    """What the server says of all events of one request."""

    received_at: str
    """RFC 3339 in UTC."""
    correlation_id: str
    """For the events that bring none."""
    tenant: str | None = None
    """Who has published, where that is known; whatever the events say."""
    own: bool = False
    """Whether AuditFlow itself publishes."""

    @property
    def received_ms(self) -> int:
        """The same moment in Unix milliseconds."""
        return epoch_ms(self.received_at)

    def front(self, *, correlation: bool, tenant: bool) -> bytes:
        """Give the beginning of an event, with correlation id and tenant where they are wanted."""
        front = f'{{"timestamp":"{self.received_at}",'
        if tenant and self.tenant is not None:
            front += f'"tenantId":"{self.tenant}",'
        if correlation:
            front += f'"correlationId":"{self.correlation_id}",'
        return front.encode()


def stamped(raw: bytes, header: Header, event_id: str, stamp: Stamp) -> bytes:
    """Stamp one event, whatever it holds; it comes out on one line."""
    foreign = stamp.tenant is not None and header.tenant_id not in {UNSET, stamp.tenant}
    if (
        header.timestamp is not UNSET
        or foreign
        or not (_clean(header.event_id) and _clean(header.correlation_id))
    ):
        raw = _without_server_fields(raw, header, foreign=foreign)
    front = stamp.front(
        correlation=not filled(header.correlation_id), tenant=header.tenant_id is UNSET or foreign
    )
    if not header.event_id:
        front += f'"eventId":"{event_id}",'.encode()
    if b"\n" in raw or b"\r" in raw:  # the journal keeps one event a line
        raw = msgspec.json.format(raw, indent=-1)
    return front + raw[1:].lstrip()


def client_time(header: Header) -> str:
    """Give the client's `timestamp` where it says when the event happened, as no `eventTime` does; else nothing."""
    if header.timestamp is UNSET or filled(header.event_time):
        return ""
    try:
        text = msgspec.json.decode(header.timestamp, type=str)
        epoch_ms(text)
    except (msgspec.MsgspecError, ValueError, OverflowError):
        return ""
    return text


def filled(value: object) -> bool:
    """Tell whether a field has a value that is not blank."""
    return isinstance(value, str) and bool(value.strip())


def now_rfc3339() -> str:
    """Give the time now as the server stamps it: UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _clean(value: object) -> bool:
    """Tell whether the field is absent or has a value: a null or blank one must make room for ours."""
    return value is UNSET or filled(value)


def _without_server_fields(raw: bytes, header: Header, *, foreign: bool) -> bytes:
    fields = _fields.decode(raw)
    said = fields.pop("timestamp", None)
    if said is not None and bytes(said) != b"null":  # it is never dropped silently
        if client_time(header):
            fields["eventTime"] = said
        else:
            fields.setdefault("clientTimestamp", said)
    if not header.event_id:
        fields.pop("eventId", None)
    if not filled(header.correlation_id):
        fields.pop("correlationId", None)
    if foreign:
        fields.pop("tenantId", None)
    return msgspec.json.encode(fields)
