"""Validates raw events and stamps them with what the server knows.

The common event is checked by one header decode and stamped by putting the server's fields in front of its
bytes. Only what the client wrote where the server must write (`timestamp`, null ids) is taken apart.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import msgspec
import uuid_utils
from msgspec import UNSET, Raw

from auditflow.errors import InvalidRequest
from auditflow.event import MAX_EXTRA_KEYS, PLATFORM_TENANT, TENANT_PATTERN, UUID_PATTERN, Header
from auditflow.ingest.limits import Limits
from auditflow.journal import Batch
from auditflow.units import readable_size

_header = msgspec.json.Decoder(Header)
_fields = msgspec.json.Decoder(dict[str, Raw])
_is_uuid = re.compile(UUID_PATTERN).fullmatch
_is_tenant = re.compile(TENANT_PATTERN).fullmatch
_is_rfc3339 = re.compile(
    r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[Tt ]([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?"
    r"([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)"
).fullmatch
_no_tenant: Final = ("", "-")


@dataclass(slots=True)
class Rejection:
    """An event of a request that was not accepted."""

    index: int
    error: InvalidRequest


@dataclass(slots=True)
class Decoded:
    """The valid events of a request as a batch, where each stood in the request, and the others."""

    batch: Batch
    indexes: list[int]
    rejected: list[Rejection] = field(default_factory=list)


def decode(raws: list[bytes], *, received_at: str, correlation_id: str, limits: Limits) -> Decoded:
    """Validate and stamp every event of a request.

    `received_at` is RFC 3339 in UTC; `correlation_id` serves events that bring none. An invalid event does
    not spoil the others: it is in `rejected`, with a message that names the field.
    """
    decoded = Decoded(Batch([], [], []), [])
    batch = decoded.batch
    for index, raw in enumerate(raws):
        try:
            header = _check(raw, limits.event_bytes)
        except InvalidRequest as error:
            decoded.rejected.append(Rejection(index, error))
            continue
        if header.event_id:
            batch.supplied.append(len(batch.events))
        event_id = header.event_id or str(uuid_utils.uuid7())
        batch.events.append(_stamped(raw, header, event_id, received_at, correlation_id))
        batch.ids.append(event_id.lower())
        batch.tenants.append(_tenant(header))
        decoded.indexes.append(index)
    return decoded


def _check(raw: bytes, max_bytes: int) -> Header:
    if len(raw) > max_bytes:
        reason = f"The event has {len(raw)} bytes; at most {readable_size(max_bytes)} are accepted"
        raise InvalidRequest(status=413, reason=reason)
    try:
        header = _header.decode(raw)
        raw.decode()  # fields that the header skips must be UTF-8 too
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(reason=_explain(raw, error)) from None
    if header.event_id and not _is_uuid(header.event_id):
        raise _invalid(
            "eventId", "expected a UUID such as 0190163d-8694-739b-aea5-966c26f8ad90", header.event_id
        )
    if header.event_time and not _is_time(header.event_time):
        raise _invalid(
            "eventTime", "expected an RFC 3339 time such as 2026-01-31T12:00:00Z", header.event_time
        )
    if header.tenant_id and header.tenant_id.strip() not in _no_tenant and not _is_tenant(header.tenant_id):
        raise _invalid(
            "tenantId", f"expected at most 64 characters matching {TENANT_PATTERN}", header.tenant_id
        )
    if header.extra is not UNSET:
        _check_extra(bytes(header.extra))
    return header


def _check_extra(extra: bytes) -> None:
    if extra == b"null" or (extra[:1] == b"{" and extra.count(b":") <= MAX_EXTRA_KEYS):
        return  # an object with no more colons than keys allowed needs no decoding
    try:
        keys = len(_fields.decode(extra))
    except msgspec.ValidationError:
        raise InvalidRequest(reason="Invalid value for field 'extra': expected an object") from None
    if keys > MAX_EXTRA_KEYS:
        reason = f"Invalid value for field 'extra': {keys} keys, at most {MAX_EXTRA_KEYS} are accepted"
        raise InvalidRequest(reason=reason)


def _is_time(text: str) -> bool:
    if not _is_rfc3339(text):
        return False
    try:
        datetime.fromisoformat(text[:10])
    except ValueError:  # the 31st of a month that has 30 days
        return False
    return True


def _tenant(header: Header) -> str:
    tenant = header.tenant_id
    if not tenant or tenant.strip() in _no_tenant:
        return PLATFORM_TENANT
    return tenant


def _stamped(raw: bytes, header: Header, event_id: str, received_at: str, correlation_id: str) -> bytes:
    """Put the server's fields into the event, in front where the client left them out."""
    if header.timestamp is not UNSET or not _clean(header.event_id) or not _clean(header.correlation_id):
        raw = _without_server_fields(raw, header)
    front = f'{{"timestamp":"{received_at}",'
    if not header.event_id:
        front += f'"eventId":"{event_id}",'
    if not _filled(header.correlation_id):
        front += f'"correlationId":"{correlation_id}",'
    if b"\n" in raw or b"\r" in raw:  # the journal keeps one event a line
        raw = msgspec.json.format(raw, indent=-1)
    return front.encode() + raw[1:].lstrip()


def _filled(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _clean(value: object) -> bool:
    """Tell whether the field is absent or has a value: a null or blank one must make room for ours."""
    return value is UNSET or _filled(value)


def _without_server_fields(raw: bytes, header: Header) -> bytes:
    fields = _fields.decode(raw)
    fields.pop("timestamp", None)
    if not header.event_id:
        fields.pop("eventId", None)
    if not _filled(header.correlation_id):
        fields.pop("correlationId", None)
    return msgspec.json.encode(fields)


def _explain(raw: bytes, error: Exception) -> str:
    """Say what is wrong with an event that the header decode refused, naming the field where there is one."""
    if isinstance(error, UnicodeDecodeError):
        return f"The event is not valid UTF-8 (byte {error.start})"
    if isinstance(error, RecursionError):
        return "The event is nested too deeply"
    if isinstance(error, msgspec.ValidationError):
        return _explain_field(str(error))
    if has_lone_surrogate(raw):
        return "The event holds an unpaired surrogate escape such as \\ud800, which is not Unicode text"
    return f"The event is not valid JSON: {str(error).removeprefix('JSON is malformed: ')}"


def _explain_field(text: str) -> str:
    if match := re.fullmatch(r"Object missing required field `(\w+)`", text):
        return f"Missing required field '{match[1]}'"
    if match := re.fullmatch(r"(.*) - at `\$\.(.+)`", text, re.DOTALL):
        return f"Invalid value for field '{match[2]}': {_in_json_terms(match[1])}"
    return f"An event must be a JSON object: {_in_json_terms(text)}"


def _in_json_terms(text: str) -> str:
    for python, name in (("str", "string"), ("float", "number"), ("int", "number"), ("bool", "boolean")):
        text = re.sub(rf"\b{python}\b", name, text)
    return text[:1].lower() + text[1:].replace("`", "")


def has_lone_surrogate(raw: bytes) -> bool:
    """Tell whether a text that is JSON otherwise escapes half a surrogate pair, which is no character."""
    try:
        json.dumps(json.loads(raw), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    except (ValueError, RecursionError):
        return False
    return False


def _invalid(name: str, expected: str, value: str) -> InvalidRequest:
    return InvalidRequest(reason=f"Invalid value for field '{name}': {expected}; got {value[:80]!r}")


def now_rfc3339() -> str:
    """Give the time now as the server stamps it: UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
