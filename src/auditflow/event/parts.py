"""An event too large for one message, as linked parts: divided at delivery, joined again by its reader.

Each part is a JSON object of its own: ``eventId`` of the event (null when it has none), ``part`` from 1 to
``parts``, ``sha256`` of the whole event in hexadecimal, and ``piece``, a stretch of the event's JSON text.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Final

import msgspec

from auditflow.errors import PartsUnusable

LONGEST_ID: Final = 1024
"""Bytes of an event id that is repeated in each part; a longer one is left out, and sha256 links the parts."""

_NUMBERS: Final = b'"part":999999999,"parts":999999999'
_whole_escapes = re.compile(rb"(?:[^\\]++|\\u[0-9a-f]{4}|\\[^u])*+").match


class _Id(msgspec.Struct, gc=False, rename="camel"):
    event_id: msgspec.Raw = msgspec.Raw(b"null")


class _Part(msgspec.Struct, gc=False):
    part: int
    parts: int
    sha256: str
    piece: str


_decode_id = msgspec.json.Decoder(_Id).decode
_decode_part = msgspec.json.Decoder(_Part).decode
_encode = msgspec.json.Encoder().encode


def split(event: bytes, limit: int) -> list[bytes]:
    """Divide an event into as few parts as fit `limit` bytes each, in their order.

    UnicodeDecodeError when the event is no UTF-8. `limit` leaves room for the names around the piece: 1300 bytes.
    """
    escaped = _encode(event.decode())[1:-1]
    head = b'{"eventId":%b,' % _event_id(event)
    tail = b',"sha256":"%b","piece":"' % hashlib.sha256(event).hexdigest().encode()
    room = limit - len(head) - len(_NUMBERS) - len(tail) - len(b'"}')
    pieces = _pieces(escaped, room)
    return [
        b'%b"part":%d,"parts":%d%b%b"}' % (head, number, len(pieces), tail, piece)
        for number, piece in enumerate(pieces, start=1)
    ]


def join_parts(messages: Iterable[bytes | str]) -> bytes:
    """Give back the event whose parts these are, byte for byte; their order does not count, nor do repeats.

    Raises PartsUnusable when one is missing, damaged, no part, or of another event.
    """
    parts = [_read(message) for message in messages]
    events = {(part.sha256, part.parts) for part in parts}
    if len(events) != 1:
        raise PartsUnusable(reason=f"they are of {len(events)} events")
    ((digest, count),) = events
    pieces = {part.part: part.piece for part in parts}
    missing = [number for number in range(1, count + 1) if number not in pieces]
    if missing:
        raise PartsUnusable(reason=f"part {missing[0]} of {count} is missing")
    event = "".join(pieces[number] for number in range(1, count + 1)).encode()
    if hashlib.sha256(event).hexdigest() != digest:
        raise PartsUnusable(reason="joined, they do not have the SHA-256 that they name")
    return event


def _event_id(event: bytes) -> bytes:
    """Give the event id as JSON text; null when it is none, or too long."""
    try:
        found = bytes(_decode_id(event).event_id)
    except (msgspec.DecodeError, RecursionError):
        found = _id_beside_lone_surrogates(event)
    return found if found.startswith(b'"') and len(found) <= LONGEST_ID else b"null"


def _id_beside_lone_surrogates(event: bytes) -> bytes:
    """Read what msgspec does not: an event with an escape of half a surrogate pair."""
    try:
        fields = json.loads(event)
    except (ValueError, RecursionError):
        return b"null"
    return json.dumps(fields.get("eventId")).encode() if isinstance(fields, dict) else b"null"


def _pieces(escaped: bytes, room: int) -> list[bytes]:
    """Cut the inside of a JSON string, between characters and never within an escape."""
    pieces = []
    start = 0
    while start < len(escaped):
        match = _whole_escapes(escaped, start, start + room)
        end = match.end() if match else start
        while end < len(escaped) and escaped[end] & 0xC0 == 0x80:  # noqa: PLR2004 - a UTF-8 continuation byte
            end -= 1
        pieces.append(escaped[start:end])
        start = end
    return pieces


def _read(message: bytes | str) -> _Part:
    try:
        return _decode_part(message)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise PartsUnusable(reason=f"one of them is no part ({error})") from None
