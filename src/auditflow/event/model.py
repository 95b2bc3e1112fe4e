"""The audit event: its fields, their limits, JSON in and out.

An event is kept and moved as the JSON bytes that were accepted, on one line, with the server's fields
stamped in front. `Header` decodes only what the contract constrains; everything else is skipped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from math import isfinite
from typing import Annotated, Any, Final, Self
from unicodedata import category, normalize

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

PLATFORM_TENANT: Final = "_platform"
"""Owner of the events that name no tenant."""

OWN_SOURCE: Final = "auditflow"
"""`sourceSystem` of the events that tell what was done to AuditFlow itself."""

OWN_TYPES: Final = "auditflow."
"""What their `eventType` begins with. Nobody else may publish such events."""

NO_TENANT: Final = ("", "-")
"""What a `tenantId` may say, besides null, when there is none."""

MAX_EXTRA_KEYS: Final = 64
TENANT_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
UUID_PATTERN: Final = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"

Name = Annotated[str, Meta(min_length=1, max_length=255)]


class Geolocation(msgspec.Struct, gc=False, rename="camel"):
    """Where the event happened: degrees, ISO 3166-1 alpha-2 country code, names."""

    lat: Annotated[float, Meta(ge=-90, le=90)] | None = None
    lon: Annotated[float, Meta(ge=-180, le=180)] | None = None
    country_code: Annotated[str, Meta(min_length=2, max_length=2)] | None = None
    country: str | None = None
    region: str | None = None
    city: str | None = None


class Header(msgspec.Struct, gc=False, rename="camel"):
    """The constrained fields of an event. UNSET tells an absent field from a null one."""

    event_type: Name
    source_system: Name
    event_id: str | UnsetType | None = UNSET
    event_time: str | UnsetType | None = UNSET
    timestamp: Raw | UnsetType = UNSET
    correlation_id: Annotated[str, Meta(max_length=64)] | UnsetType | None = UNSET
    tenant_id: str | UnsetType | None = UNSET
    geolocation: Geolocation | UnsetType | None = UNSET
    extra: Raw | UnsetType = UNSET


FIELDS: Final = tuple(field.encode_name for field in msgspec.structs.fields(Header))
"""Names of the fields at the top that AuditFlow gives a meaning."""


def is_own(header: Header) -> bool:
    """Tell whether this is an event that AuditFlow alone may make, or one that a reader would take for such.

    Either field is enough, in any letter case and with blanks around it: people look for one of them.
    """
    return any_own({header.source_system}, {header.event_type})


def any_own(sources: Iterable[str], types: Iterable[str]) -> bool:
    """Tell whether there may be such an event among some whose `sourceSystem`s and `eventType`s are these."""
    return OWN_SOURCE in map(_plain, sources) or any(_plain(each).startswith(OWN_TYPES) for each in types)


def _plain(text: str) -> str:
    """Give a name as it reads: full-width letters and those that nobody sees are written away."""
    if not text.isascii():
        text = "".join(each for each in normalize("NFKC", text) if category(each) not in _UNSEEN)
    return text.strip().lower()


_UNSEEN: Final = {"Cc", "Cf"}
"""Unicode categories of control and format characters."""


class _Names(msgspec.Struct, gc=False, rename="camel"):
    tenant_id: str | None = None
    event_id: str | None = None


_names = msgspec.json.Decoder(_Names)


def owner_and_id(stored: bytes) -> tuple[str, str]:
    """Give the tenant and the id of a stamped event; two empty texts for what is no event any more."""
    try:
        names = _names.decode(stored)
    except msgspec.DecodeError:
        return "", ""
    return names.tenant_id or PLATFORM_TENANT, names.event_id or ""


class WideNumber(float):
    """A number that no float holds, such as 1e400: infinity to who reckons with it, and written as it came."""

    text: str

    def __new__(cls, text: str) -> Self:
        """Make one of its JSON text."""
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __getnewargs__(self) -> tuple[str]:  # type: ignore[override] # so that copies keep the text
        return (self.text,)

    def __repr__(self) -> str:
        return self.text


def decode(event: bytes) -> Any:
    """Read all of an event, for conditions, for people and for code that is not ours.

    Raises ValueError or RecursionError for what is not JSON.
    """
    try:
        return msgspec.json.decode(event)
    except msgspec.ValidationError:  # a number is out of range
        return json.loads(event, parse_float=_real, parse_int=_integer)


def _real(text: str) -> float:
    number = float(text)
    return number if isfinite(number) else WideNumber(text)


def _integer(text: str) -> float:
    try:
        return int(text)
    except ValueError:  # Python reads no more than some thousand digits
        return WideNumber(text)


def encode(event: Any) -> bytes:
    """Write an event, or a part of one, as compact JSON on one line. Raises TypeError for what JSON cannot hold."""
    try:
        return _encode(event)
    except (OverflowError, UnicodeEncodeError):  # integers over 64 bits, unpaired surrogates
        return _slowly(event).encode()


def _as_written(value: object) -> msgspec.Raw:
    if isinstance(value, WideNumber):
        return msgspec.Raw(value.text)
    raise TypeError(f"JSON cannot hold a {type(value).__name__}")


_encode = msgspec.json.Encoder(enc_hook=_as_written).encode


def _slowly(value: Any) -> str:
    match value:
        case dict():
            members = (f"{json.dumps(str(name))}:{_slowly(member)}" for name, member in value.items())
            return f"{{{','.join(members)}}}"
        case list() | tuple():
            return f"[{','.join(map(_slowly, value))}]"
        case WideNumber():
            return value.text
    return json.dumps(value)
