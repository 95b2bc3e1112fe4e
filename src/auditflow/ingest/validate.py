"""Looks at one raw event and says, in words for its publisher, what is wrong with it."""
# Tested in tests/ingest/test_decode.py.

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

import msgspec
from msgspec import UNSET, Raw

from auditflow.errors import InvalidRequest
from auditflow.event.depth import MAX_DEPTH, is_too_deep
from auditflow.event.model import MAX_EXTRA_KEYS, NO_TENANT, TENANT_PATTERN, UUID_PATTERN, Header
from auditflow.ingest.repeated_keys import HIDDEN, repeated
from auditflow.units import readable_size

_DIFFER: Final = "readers differ in which one they take"
_HIDING: Final = (
    "The event is large, and names or texts in it escape letters of ASCII (such as \\u0041), which may hide a repeated "
    "field: write the letters themselves"
)

_header = msgspec.json.Decoder(Header)
_fields = msgspec.json.Decoder(dict[str, Raw])
_is_uuid = re.compile(UUID_PATTERN).fullmatch
_is_tenant = re.compile(TENANT_PATTERN).fullmatch
_is_rfc3339 = re.compile(
    r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[Tt ]([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?"
    r"([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
).fullmatch


def validate(raw: bytes, max_bytes: int) -> Header:
    """Give the header of a valid event. Raises InvalidRequest (400, 413), which names the field."""
    if len(raw) > max_bytes:
        reason = f"The event has {len(raw)} bytes; at most {readable_size(max_bytes)} are accepted"
        raise InvalidRequest(status=413, reason=reason)
    if is_too_deep(raw):
        raise InvalidRequest(reason=f"The event is nested more than {MAX_DEPTH} deep")
    try:
        header = _header.decode(raw)
        raw.decode()  # fields that the header skips must be UTF-8 too
        twice = repeated(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(reason=_explain(raw, error)) from None
    if twice:
        raise InvalidRequest(
            reason=_HIDING if twice == HIDDEN else f"The field '{twice}' is repeated: {_DIFFER}"
        )
    if header.event_id and not _is_uuid(header.event_id):
        raise _invalid(
            "eventId", "expected a UUID such as 0190163d-8694-739b-aea5-966c26f8ad90", header.event_id
        )
    if header.event_time and not _is_time(header.event_time):
        raise _invalid(
            "eventTime", "expected an RFC 3339 time such as 2026-01-31T12:00:00Z", header.event_time
        )
    if header.tenant_id and not is_tenant(header.tenant_id):
        raise _invalid(
            "tenantId", f"expected at most 64 characters matching {TENANT_PATTERN}", header.tenant_id
        )
    if header.extra is not UNSET:
        _check_extra(bytes(header.extra))
    return header


def is_tenant(text: str) -> bool:
    """Tell whether a `tenantId` names a tenant, or says that there is none."""
    return text.strip() in NO_TENANT or _is_tenant(text) is not None


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


_to_lone_surrogate = re.compile(
    rb"(?:[^\\]++|\\[^u]|\\u(?![dD][89a-fA-F])|\\u[dD][89abAB]..\\u[dD][c-fC-F])*+\\u[dD][89a-fA-F]",
    re.DOTALL,
).match


def has_lone_surrogate(raw: bytes) -> bool:
    """Tell whether a JSON text escapes half a surrogate pair, which is no character."""
    return _to_lone_surrogate(raw) is not None


def _invalid(name: str, expected: str, value: str) -> InvalidRequest:
    return InvalidRequest(reason=f"Invalid value for field '{name}': {expected}; got {value[:80]!r}")
