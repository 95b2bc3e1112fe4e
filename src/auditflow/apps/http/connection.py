"""A connection of the HTTP server that no client can hold or fill for as long as it likes."""

from __future__ import annotations

import resource
from asyncio import Transport
from typing import Any, Final, cast

from auditflow.apps.http.protocol import Protocol

REQUEST_SECONDS: Final = 60.0
"""How long a request may take to arrive whole, and a connection to begin its first one."""
HEAD_BYTES: Final = 64 * 2**10
"""Largest request line with headers; and largest part of anything else that is no body, such as a trailer."""
HEADERS: Final = 100
"""Most headers of one request, trailers included."""
OTHER_FILES: Final = 200
"""Descriptors that connections leave for journal, destinations and plugins."""

_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
)


def most_connections() -> int:
    """Give how many connections the limit on open files (`ulimit -n`) leaves room for."""
    return max(10, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - OTHER_FILES)


class Connection(Protocol):
    """uvicorn's protocol, which bounds neither headers nor the time that a request takes to arrive."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._most = most_connections()
        self._unread = 0
        """Bytes since the parser could last make something of them."""
        self._waiting_since: float | None = None
        """When the request began that is not there whole."""

    def late(self, now: float) -> bool:
        """Tell whether the client has had time enough to send its request; `now` is the event loop's time."""
        since = self._waiting_since
        return since is not None and now - since > REQUEST_SECONDS and not self.pipeline

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Take a connection, unless there are too many."""
        super().connection_made(transport)
        self._waiting_since = self.loop.time()
        if len(self.connections) > self._most:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read; refuse a head that does not end."""
        if self._waiting_since is None:
            self._waiting_since = self.loop.time()
        self._unread += len(data)
        super().data_received(data)
        if self._unread > HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

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
        """Begin to serve the request."""
        self._unread = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Hand on a part of the body."""
        self._unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop counting: the request is there whole."""
        self._unread = 0
        self._waiting_since = None
        super().on_message_complete()


def close_late(connections: set[Any], now: float) -> int:
    """Close the connections whose clients are late; give how many."""
    late = [each for each in cast("set[Connection]", connections) if each.late(now)]
    for connection in late:
        connection.transport.abort()
    return len(late)
