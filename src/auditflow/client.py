"""Publishes events over HTTP. Every event has its id before it is first sent, so a retry is never a second event."""

from __future__ import annotations

import gzip
import ssl
import sys
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self, cast

import httpx2
import msgspec
import uuid_utils

from auditflow.errors import PublishGivenUp, UnreadableEvents

PAUSE_SECONDS: Final = 0.5
PAUSE_CAP_SECONDS: Final = 10.0
GZIP: Final = b"\x1f\x8b"
BOM: Final = b"\xef\xbb\xbf"
_NO_ID: Final = {b"null", b'""'}
"""What counts as no id: the server would give one, and after a lost answer another one."""
_TRY_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_array = msgspec.json.Decoder(list[msgspec.Raw])


@dataclass(slots=True)
class Chunk:
    """Events for one request, each one line of JSON, and where each came from, for messages."""

    events: list[bytes]
    places: list[str]


@dataclass(slots=True)
class Report:
    """What became of everything that was published."""

    accepted: int = 0
    duplicates: int = 0
    rejected: list[tuple[str, str]] = field(default_factory=list)
    """Where the event came from, and why the server does not take it."""


class Publisher:
    """A connection to a server. Use as a context manager.

    `patience`: seconds to go on trying one request while the server cannot be reached or takes no events.
    `headers`: sent along, such as `Authorization`. `verify`: how the server's certificate is checked, and ours shown.
    """

    def __init__(
        self,
        url: str,
        patience: float = 60.0,
        headers: Mapping[str, str] | None = None,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        self._url = url.rstrip("/") + "/audit/publish"
        self._patience = patience
        self._http = httpx2.Client(
            timeout=60.0, headers=headers, verify=verify, trust_env=not is_loopback(url)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def publish(self, chunk: Chunk, report: Report) -> None:
        """Send the events and add what became of them. Raises PublishGivenUp when patience ends."""
        answer = self._post(b"\n".join(chunk.events), report)
        report.accepted += answer.get("accepted", 0)
        report.duplicates += answer.get("duplicates", 0)
        for rejection in answer.get("rejected", []):
            report.rejected.append((chunk.places[rejection["index"]], rejection["message"]))

    def _post(self, body: bytes, report: Report) -> dict[str, Any]:
        deadline = time.monotonic() + self._patience
        pause = PAUSE_SECONDS
        while True:
            asked = "0"
            try:
                answer = self._http.post(
                    self._url, content=body, headers={"Content-Type": "application/x-ndjson"}
                )
                outcome = _outcome(answer)
                if "rejected" in outcome:
                    return outcome
                reason = f"HTTP {answer.status_code}: {outcome.get('message', 'no answer of AuditFlow')}"
                if answer.status_code not in _TRY_AGAIN:
                    raise PublishGivenUp(url=self._url, reason=reason, accepted=report.accepted)
                asked = answer.headers.get("retry-after", "0")
            except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
                raise PublishGivenUp(url=self._url, reason=error, accepted=report.accepted) from None
            except httpx2.TransportError as error:
                reason = str(error) or type(error).__name__
            wait = max(float(asked) if asked.isdecimal() else 0.0, pause)
            if time.monotonic() + wait > deadline:
                raise PublishGivenUp(url=self._url, reason=reason, accepted=report.accepted)
            time.sleep(wait)
            pause = min(PAUSE_CAP_SECONDS, 2 * pause)


def is_loopback(url: str) -> bool:
    """Tell whether a URL leads to this machine: no proxy can reach it, nor is one to see what is shown to it."""
    try:
        host = httpx2.URL(url).host
        return host == "localhost" or host.endswith(".localhost") or ip_address(host).is_loopback
    except (ValueError, httpx2.InvalidURL):
        return False


def _outcome(answer: httpx2.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) and isinstance(body.get("rejected", []), list) else {}


def read_events(source: Path, size: int) -> Iterator[Chunk]:
    """Read events in chunks: a `.json` file is one event or an array, anything else NDJSON; `-` is standard input.

    Files may be compressed (gzip).

    An event without `eventId` gets one. Lines that are no JSON object are left to the server, which says why
    it refuses them. Raises UnreadableEvents.
    """
    try:
        numbered = _whole(source) if source.name.removesuffix(".gz").endswith(".json") else _lines(source)
        while part := list(islice(numbered, size)):
            yield Chunk([_with_id(event) for _, event in part], [f"{source}:{number}" for number, _ in part])
    except (OSError, EOFError, zlib.error, msgspec.DecodeError, RecursionError) as error:
        raise UnreadableEvents(source=source, reason=getattr(error, "strerror", None) or error) from None


def _opened(source: Path) -> BinaryIO:
    """Open a file, inflating it if it is gzip."""
    with source.open("rb") as file:
        packed = file.read(2) == GZIP
    return cast("BinaryIO", gzip.open(source)) if packed else source.open("rb")


def _whole(source: Path) -> Iterator[tuple[int, bytes]]:
    """Give the events of a JSON document with their numbers."""
    with _opened(source) as stream:
        text = stream.read().removeprefix(BOM).strip()
    items: Iterable[msgspec.Raw] = _array.decode(text) if text[:1] == b"[" else [msgspec.Raw(text)]
    for number, item in enumerate(items, 1):
        yield number, msgspec.json.format(bytes(item), indent=-1)


def _lines(source: Path) -> Iterator[tuple[int, bytes]]:
    """Give the lines of a stream with their numbers, blank ones left out."""
    with sys.stdin.buffer if str(source) == "-" else _opened(source) as stream:
        for number, line in enumerate(stream, 1):
            if event := (line.removeprefix(BOM) if number == 1 else line).strip():
                yield number, event


def _with_id(event: bytes) -> bytes:
    try:
        fields = _object.decode(event)
    except (msgspec.DecodeError, RecursionError):
        return event
    new = b'"%s"' % str(uuid_utils.uuid7()).encode()
    if bytes(fields.get("eventId", b"-")) in _NO_ID:
        return msgspec.json.encode(fields | {"eventId": msgspec.Raw(new)})
    if "eventId" in fields or not fields:
        return event
    return b'{"eventId":%s,' % new + event[1:]
