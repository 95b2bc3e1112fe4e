"""uvicorn's HTTP protocol with a short way for small publish calls, which come by the thousands in a second.

uvicorn starts the app when the headers are there, and lets body and answer flow in pieces. A small publish call
is there whole in a moment and answered in one piece. If it is a single event whose caller is known, it joins the
others of this turn of the event loop in the `Front`; otherwise it goes to the app, whole.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from auditflow.ingest.front.front import Front, events_of
from auditflow.ingest.front.request import STATUS_LINES, Request
from auditflow.ingest.publish import PATHS, correlation

SMALL: Final = 16 * 2**10
"""Bytes of the largest body that is waited for before the app is called."""

_PATHS: Final = {path.encode(): path for path in PATHS}
_log = logging.getLogger(__name__)

App = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]


class Protocol(HttpToolsProtocol):
    """One connection."""

    front: Front | None = None
    """Serves single events; None on a port where nothing is published."""
    _whole: Whole | None = None
    """A small publish call that has not arrived whole yet."""
    _headers: object = None
    _common = b""

    def common(self) -> bytes:
        """Give the headers that all answers have, as they go over the wire. uvicorn makes new ones each second."""
        headers = self.server_state.default_headers
        if headers is not self._headers:
            self._headers = headers
            self._common = b"".join([b"%b: %b\r\n" % header for header in headers])
        return self._common

    def on_headers_complete(self) -> None:
        """Wait for the body of a small publish call; everything else goes uvicorn's way."""
        if not self._is_small_publish():
            super().on_headers_complete()
            return
        path = _PATHS[self.url]
        self.scope |= {"method": "POST", "path": path, "raw_path": self.url, "query_string": b""}
        keep_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        self._whole = Whole(self, cast(MutableMapping[str, Any], self.scope), keep_alive=keep_alive)
        self.cycle = self._whole  # type: ignore[assignment] # it has what uvicorn uses of its own

    def on_message_complete(self) -> None:
        """Begin with a call that is whole now."""
        super().on_message_complete()
        whole, self._whole = self._whole, None
        if whole is not None and not (self.front and self._joins(self.front, whole)):
            self._start_asgi_task(whole, self.app)  # type: ignore[arg-type] # see above

    def _joins(self, front: Front, whole: Whole) -> bool:
        """Hand the call to the front, if it is for it."""
        headers = dict(self.headers)
        if len(headers) < len(self.headers):  # a repeated one may make a difference: the guard looks closer
            return False
        cut = None if self.flow.write_paused else events_of(headers, bytes(whole.body), front.most_events)
        if cut is None:
            return False
        principal = front.caller(headers, self.client[0] if self.client else "")
        if principal is None:
            return False
        identity = correlation(headers.get(b"x-correlation-id", b""))
        front.add(Request(*cut, principal, identity, whole.respond))
        return True

    def _is_small_publish(self) -> bool:
        if self.url not in _PATHS or self.parser.get_method() != b"POST" or self.expect_100_continue:
            return False
        if self.cycle is not None and not self.cycle.response_complete:
            return False  # pipelined: uvicorn lets it wait for its turn
        if self.limit_concurrency is not None or self.parser.should_upgrade():
            return False
        lengths = [value for name, value in self.headers if name == b"content-length"]
        return len(lengths) == 1 and lengths[0].isdigit() and int(lengths[0]) <= SMALL


class Whole:
    """A request that has arrived whole, and its answer; in the place of uvicorn's RequestResponseCycle."""

    __slots__ = (
        "_protocol",
        "_scope",
        "_start",
        "body",
        "disconnected",
        "keep_alive",
        "more_body",
        "response_complete",
    )

    def __init__(self, protocol: Protocol, scope: MutableMapping[str, Any], *, keep_alive: bool) -> None:
        self._protocol = protocol
        self._scope = scope
        self._start: MutableMapping[str, Any] = {}
        self.body = bytearray()
        self.disconnected = self.response_complete = False
        self.more_body = True
        self.keep_alive = keep_alive

    @property
    def message_event(self) -> Whole:
        """Nobody waits for more of the message, so that there is nothing to wake."""
        return self

    def set(self) -> None:
        """Do nothing: see above."""

    async def run_asgi(self, app: App) -> None:
        """Call the app; it answers whatever happens, and when it does not the connection is closed."""
        try:
            await app(self._scope, self.receive, self.send)
        except BaseException:
            self._protocol.transport.close()
            raise
        if not self.response_complete:
            _log.error("a publish call was not answered")
            self._protocol.transport.close()

    async def receive(self) -> MutableMapping[str, Any]:
        """Give the whole body (ASGI)."""
        if self.disconnected:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": bytes(self.body), "more_body": False}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Send the answer when it is whole, too (ASGI)."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        lines = b"".join([b"%b: %b\r\n" % header for header in self._start["headers"]])
        self.respond(STATUS_LINES[self._start["status"]], b"%b\r\n%b" % (lines, message["body"]))

    def respond(self, status_line: bytes, rest: bytes) -> None:
        """Send the answer: its status line, what every answer has, and its own headers with the body."""
        protocol = self._protocol
        self.response_complete = True
        if not self.disconnected:
            closing = b"" if self.keep_alive else b"connection: close\r\n"
            protocol.transport.write(b"%b%b%b%b" % (status_line, protocol.common(), closing, rest))
        if not self.keep_alive:
            protocol.transport.close()
        protocol.on_response_complete()
