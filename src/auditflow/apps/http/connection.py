"""A connection of the HTTP server that no client can hold or fill for as long as it likes."""

from __future__ import annotations

import logging
import re
import resource
import time
from asyncio import CancelledError, Transport
from collections.abc import Sized
from math import inf
from typing import Any, Final, cast

from auditflow.apps.http.protocol import Protocol
from auditflow.ingest.front.front import Front

REQUEST_SECONDS: Final = 60.0
"""How long a request may take to arrive whole, and a connection to begin its first one."""
LEAST_READ: Final = 64 * 2**10
"""So many bytes of an answer have to be read in that time, if there are more."""
HEAD_BYTES: Final = 64 * 2**10
"""Largest request line with headers; and largest part of anything else that is no body, such as a trailer."""
HEADERS: Final = 100
"""Most headers of one request, trailers included."""
OTHER_FILES: Final = 200
"""Descriptors that connections leave for journal, destinations and plugins."""

_TOO_LARGE: Final = "431 Request Header Fields Too Large"
_HEAD_END: Final = b"\r\n\r\n"
_NOISE: Final = ("Invalid HTTP request received.", "Unsupported upgrade request.", "No supported WebSocket")
"""What uvicorn logs of anybody's garbage: whoever can connect could fill the log with it."""


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Leave out garbage, and calls that the end of the process has cancelled."""
    cancelled = record.exc_info and isinstance(record.exc_info[1], CancelledError)
    return not cancelled and not record.getMessage().startswith(_NOISE)


logging.getLogger("uvicorn.error").addFilter(_is_worth_a_line)

TOLD_SECONDS: Final = 10.0
_told_at = -TOLD_SECONDS
_log = logging.getLogger(__name__)

_upgrade = re.compile(rb"^upgrade(?=[ \t]*:)", re.IGNORECASE | re.MULTILINE)


def most_connections() -> int:
    """Give how many connections the limit on open files (`ulimit -n`) leaves room for."""
    return max(10, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - OTHER_FILES)


def is_crowded(connections: Sized) -> bool:
    """Tell whether the newest of the connections is one too many; log it, but not for each: anybody can bring it about."""
    most = most_connections()
    if len(connections) <= most:
        return False
    _tell_crowded(most)
    return True


def _tell_crowded(most: int) -> None:
    global _told_at  # noqa: PLW0603 - one log for all connections of the process
    now = time.monotonic()
    if now - _told_at >= TOLD_SECONDS:
        _told_at = now
        _log.warning(
            "more than %d connections at once: further ones are closed; raise the limit on open files (ulimit -n), or see who "
            "keeps them open", most,
        )  # fmt: skip


class Connection(Protocol):
    """uvicorn's protocol, which bounds neither headers nor the time that a request takes to arrive."""

    def __init__(self, front: Front | None, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.front = front
        self._unread = 0
        """Bytes since the parser could last make something of them."""
        self._waiting_since: float | None = None
        """When the request began that is not there whole."""
        self._left = 0
        """Bytes that were still to be read then."""
        self._unread_since: float | None = None
        """Since when the client has not read what is written."""
        self._line = b""
        """The beginning of a line of a head whose end has not arrived."""
        self._body: float = 0
        """Bytes of the body that are still to come; infinite for one in chunks, 0 within a head."""
        self._refused = False
        """Whether the connection is to end: what else arrives is dropped."""

    def late(self, now: float) -> bool:
        """Tell whether the client has had time enough to send its request, or to read its answer; `now` is the event loop's time."""
        since = self._waiting_since
        silent = since is not None and now - since > REQUEST_SECONDS and not self.pipeline
        return silent or self._is_not_read(now)

    def end(self) -> None:
        """End the connection at once."""
        self.transport.abort()

    def _is_not_read(self, now: float) -> bool:
        """Tell whether the client has read next to nothing for too long, though there is an answer for it."""
        if self._unread_since is None or now - self._unread_since <= REQUEST_SECONDS:
            return False
        left, before = self.transport.get_write_buffer_size(), self._left
        self._unread_since, self._left = now, left
        return left > before - LEAST_READ

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Take a connection, unless there are too many."""
        super().connection_made(transport)
        self._waiting_since = self.loop.time()
        if is_crowded(self.connections):
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read; refuse a head that does not end."""
        if self._waiting_since is None:
            self._waiting_since = self.loop.time()
        self._unread += len(data)
        data, self._line = self._line + data, b""
        while data and self.parser is not None and not self._refused and not self.transport.is_closing():
            data = self._feed_body(data) if self._body else self._feed_head(data)
        if self._unread > HEAD_BYTES and not self._refused and not self.transport.is_closing():
            self._refuse(_TOO_LARGE)

    def _feed_body(self, data: bytes) -> bytes:
        """Give the parser what is of this body; return what follows.

        What follows a body in chunks only the parser can tell: another head may be in it. JSON has no line that
        begins like an offer, and what takes its place is as long, so that the length of no chunk changes.
        """
        if self._body == inf:
            super().data_received(_without_offers(data))
            return b""
        size = int(self._body)
        self._body -= min(size, len(data))
        super().data_received(data[:size])
        return data[size:]

    def _feed_head(self, data: bytes) -> bytes:
        """Give the parser whole lines of a head; return what follows it.

        An offer to upgrade is hidden from the parser: it would stop there and take the body for another protocol,
        but a server that does not accept the offer has to read the request as if there were none (RFC 9110, 7.8).
        """
        end = data.find(_HEAD_END)
        size = data.rfind(b"\n") + 1 if end < 0 else end + len(_HEAD_END)
        head, rest = data[:size], data[size:]
        super().data_received(_without_offers(head))
        if end < 0:
            self._line, rest = rest, b""
        return rest

    def _refuse(self, status: str) -> None:
        """End the connection with an answer that says why."""
        self._refused = True
        self.transport.write(f"HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".encode())
        self.transport.close()

    def pause_writing(self) -> None:
        """Count the time that the client takes to read."""
        self._unread_since, self._left = self.loop.time(), self.transport.get_write_buffer_size()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Stop counting: the client has read."""
        self._unread_since = None
        super().resume_writing()

    def eof_received(self) -> bool | None:  # type: ignore[override] # as asyncio has it
        """Keep a half-closed connection until its request is answered; TLS knows no half."""
        if (
            self.scheme == "https"
            or self.cycle is None
            or self.cycle.response_complete
            or self.cycle.more_body
        ):
            return None
        self.cycle.keep_alive = False
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection, also one that was reset: its timer would keep it in memory."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def on_response_complete(self) -> None:
        """Begin with the next request; while others wait for their turn, no more are read."""
        super().on_response_complete()
        if self.pipeline:
            self.flow.pause_reading()

    def on_message_begin(self) -> None:
        """Count the time of a request."""
        if self._waiting_since is None:  # it came along with the one before
            self._waiting_since = self.loop.time()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header. Raises ValueError for one too many."""
        if len(self.headers) >= HEADERS:
            raise ValueError("too many headers")  # which the parser turns into 400
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to serve the request, unless it can be understood in two ways."""
        self._unread = 0
        fault = self._fault()
        if fault:
            self._refuse(fault)
            return
        super().on_headers_complete()

    def _fault(self) -> str:
        """Say what is wrong with the head; note how long the body is."""
        codings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        if codings:
            self._body = inf
        else:
            lengths = [value for name, value in self.headers if name == b"content-length"]
            self._body = int(lengths[0]) if lengths else 0
        if codings and codings != [b"chunked"]:
            return "501 Not Implemented"
        if self.parser.get_method() == b"CONNECT":
            return "405 Method Not Allowed"
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (not hosts and self.parser.get_http_version() == "1.1"):
            return "400 Bad Request"
        return ""

    def on_body(self, body: bytes) -> None:
        """Hand on a part of the body."""
        self._unread = 0
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop counting: the request is there whole."""
        self._unread = 0
        self._body = 0
        self._waiting_since = None
        if not self._refused:
            super().on_message_complete()


def close_late(connections: set[Any], now: float) -> int:
    """Close the connections whose clients are late; give how many."""
    late = [each for each in cast("set[Connection]", connections) if each.late(now)]
    for connection in late:
        connection.end()
    return len(late)


def _without_offers(data: bytes) -> bytes:
    """Rename the headers that offer to upgrade; the length stays."""
    return _upgrade.sub(b"x-offer", data) if b"pgrade" in data.lower() else data
