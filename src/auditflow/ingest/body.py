"""Reads the body of a publish call, bounded before and after inflation, and cuts it into raw events."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from itertools import islice
from typing import Any, Final

import msgspec

from auditflow.errors import InvalidRequest, TooMuchArriving
from auditflow.units import readable_size

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
_LINES_OF_JSON: Final = {
    NDJSON, "application/ndjson", "application/jsonl", "application/x-jsonl", "application/jsonlines",
    "application/x-jsonlines", "application/json-lines", "application/x-json-stream",
}  # fmt: skip
"""No name is registered, so each tool has its own."""
_KINDS: Final = {JSON, *_LINES_OF_JSON}
_is_lines = re.compile(rb"\}[ \t]*\r?\n\s*\{").search
"""What no JSON text holds: an object, a line's end and the next object."""

_LINES: Final = 3
"""Lines for each event that a request may hold, blank ones included."""
_GZIP_WINDOW: Final = 31  # zlib's own code for "gzip framing only"
_GZIP_CHUNK: Final = (
    16 * 1024
)  # zlib copies what follows a member: small, lest many tiny members cost the square
BOM: Final = b"\xef\xbb\xbf"
_MEMBERS: Final = 1_000
"""Most members of a gzip body: each costs microseconds, and an empty one has 20 bytes."""
_AT_ONCE: Final = 2**20
"""Bytes that are inflated before others have their turn."""
_COMMAS: Final = 200_000
"""Commas up to which an array is cut at once: as many items as that take some tens of milliseconds."""
_array = msgspec.json.Decoder(list[msgspec.Raw])
_item = msgspec.json.Decoder(msgspec.Raw)
_end_of_item = re.compile(r"trailing characters \(byte (\d+)\)$").search


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


def media_type(content_type: str) -> str:
    """Give `JSON` or `NDJSON`; raises InvalidRequest (415) for anything else, or another charset than UTF-8."""
    kind, _, parameters = content_type.partition(";")
    charset = parameters.lower().partition("charset=")[2].split(";")[0].strip(' "') or "utf-8"
    if kind.strip().lower() not in _KINDS:
        got = f"got {kind.strip()[:100]!r}" if kind.strip() else "the request has none"
        raise InvalidRequest(status=415, reason=f"Content-Type must be {JSON} or {NDJSON}; {got}")
    if charset not in {"utf-8", "utf8", "us-ascii"}:
        raise InvalidRequest(status=415, reason=f"JSON is UTF-8; charset {charset[:40]!r} is not accepted")
    return JSON if kind.strip().lower() == JSON else NDJSON


class Arriving:
    """The bytes of all bodies that have not arrived whole: slow clients must not fill the memory."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0

    def add(self, size: int) -> None:
        """Count a part that has come. Raises TooMuchArriving."""
        self._held += size
        if self._held > self._limit:
            raise TooMuchArriving(size=readable_size(self._limit))

    def drop(self, size: int) -> None:
        """Count parts out again: their body is whole, or given up."""
        self._held -= size


async def read(receive: Receive, headers: dict[bytes, bytes], limit: int, arriving: Arriving) -> bytes:
    """Read the whole body and inflate it.

    Raises InvalidRequest (400, 413, 415), TooMuchArriving or ClientGone.
    """
    encoding = headers.get(b"content-encoding", b"identity").decode("latin-1").strip().lower()
    encoding = encoding.removeprefix("x-")  # RFC 9110, 8.4.1.3: the same thing
    if encoding not in {"identity", "gzip"}:
        reason = f"Content-Encoding must be gzip or identity, got {encoding[:40]!r}"
        raise InvalidRequest(status=415, reason=reason)
    declared = headers.get(b"content-length", b"0")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    body = await _receive_all(receive, limit, arriving)
    if encoding == "gzip":
        body = await _inflate(body, limit)
    return body.removeprefix(BOM)


def split(body: bytes, kind: str, max_events: int) -> tuple[list[bytes], bool]:
    """Cut a body into raw events; the flag tells a single event from a list of one.

    Raises InvalidRequest when the body as a whole is unusable: malformed, empty, too many events.
    """
    if kind == NDJSON:
        if body.count(b"\n") > _LINES * max_events:  # before there is an object for each
            raise _too_many(f"more than {_LINES * max_events} lines", max_events)
        events = [line for line in map(bytes.strip, body.split(b"\n")) if line]
    elif body.lstrip()[:1] == b"[":
        events = _array_items(body, max_events)
    elif body.strip():
        if b"\n" in body and _is_lines(body):
            raise InvalidRequest(
                reason=f"The body holds several lines of JSON: send it as Content-Type: {NDJSON}"
            )
        return [body.strip()], True
    else:
        events = []
    if not events:
        raise InvalidRequest(reason="The request holds no event")
    if len(events) > max_events:
        raise _too_many(f"{len(events)} events", max_events)
    return events, False


def _too_many(what: str, max_events: int) -> InvalidRequest:
    reason = f"The request holds {what}; at most {max_events} events are accepted in one"
    return InvalidRequest(status=413, reason=reason)


def _array_items(body: bytes, max_events: int) -> list[bytes]:
    try:
        if body.count(b",") > _COMMAS:
            return list(islice(_one_by_one(body), max_events + 1))
        return [bytes(item) for item in _array.decode(body)]
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequest(reason=f"The body is not a JSON array: {error}") from None


def _one_by_one(body: bytes) -> Iterator[bytes]:
    """Cut an array item by item, so that no more are made than are asked for. Raises DecodeError."""
    view = memoryview(body)
    start = body.index(b"[") + 1
    while True:
        try:
            _item.decode(view[start:])
        except msgspec.DecodeError as error:
            found = _end_of_item(str(error))
            if found is None:
                raise
            end = start + int(found[1]) - 1
        else:
            raise msgspec.DecodeError("Input data was truncated")
        yield body[start:end].strip()
        if body[end : end + 1] == b"]" and not body[end + 1 :].strip():
            return
        if body[end : end + 1] != b",":
            raise msgspec.DecodeError(f"JSON is malformed: invalid character (byte {end})")
        start = end + 1


async def _receive_all(receive: Receive, limit: int, arriving: Arriving) -> bytes:
    chunks: list[bytes] = []
    total = counted = 0
    try:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            chunk: bytes = message.get("body", b"")
            total += len(chunk)
            if total > limit:
                raise _too_large(limit)
            chunks.append(chunk)
            if not message.get("more_body", False):
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)
            counted += len(chunk)
            arriving.add(len(chunk))
    finally:
        arriving.drop(counted)


async def _inflate(body: bytes, limit: int) -> bytes:
    """Inflate one or more gzip members, never holding more than `limit` bytes of the result.

    Others have their turn in between: a few bytes may stand for millions.
    """
    inflated = bytearray()
    try:
        for piece in _inflated(body):
            inflated += piece
            if len(inflated) > limit:
                raise _too_large(limit)
            if len(piece) == _AT_ONCE:
                await asyncio.sleep(0)
    except zlib.error:
        reason = "The body is not valid gzip, though Content-Encoding says so"
        raise InvalidRequest(reason=reason) from None
    return bytes(inflated)


def _inflated(body: bytes) -> Iterator[bytes]:
    """Give what is in a gzip body, piece by piece. Raises InvalidRequest, zlib.error."""
    member, members, full = zlib.decompressobj(_GZIP_WINDOW), 1, False
    for start in range(0, len(body), _GZIP_CHUNK):
        chunk = body[start : start + _GZIP_CHUNK]
        while chunk or full:
            if member.eof:
                chunk = chunk.lstrip(b"\0")  # some tools fill up blocks behind a member
                if not chunk:
                    break
                member, members = zlib.decompressobj(_GZIP_WINDOW), members + 1
                if members > _MEMBERS:
                    raise InvalidRequest(reason=f"The gzip body has more than {_MEMBERS} members")
            piece = member.decompress(chunk, _AT_ONCE)
            yield piece
            full = (
                len(piece) == _AT_ONCE and not member.eof
            )  # then there may be more of it, without more input
            chunk = member.unused_data if member.eof else member.unconsumed_tail
    if not member.eof:
        raise InvalidRequest(reason="The gzip body ends too early")


def _too_large(limit: int) -> InvalidRequest:
    reason = f"The request is larger than {readable_size(limit)}, before or after inflation; send it in parts"
    return InvalidRequest(status=413, reason=reason)
