"""An HTTP server that keeps to no rule: raw answers that drip, flood, lie about themselves or never end.

For tests of whatever speaks HTTP::

    with HostileServer(ANSWERS["flood"]) as server:
        outcome = post_to(server.url)
"""
# Tested in tests/sinks/_aws/test_connection.py.

from __future__ import annotations

import contextlib
import gzip
import itertools
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Final, Self

RESET: Final = None
"""A step of an answer that resets the connection."""

Step = bytes | float | None
"""Bytes to send, seconds to wait, or RESET."""
Answer = Callable[[], Iterator[Step]]
"""Gives the steps of one answer. After the last one the connection is closed, unless it `keeps` it."""

_LENGTH: Final = re.compile(rb"(?i)^content-length: *(\d+)", re.MULTILINE)
_PAUSE: Final = 0.05
"""Seconds between the drops of what drips."""


class HostileServer:
    """Gives every request the same answer. Use as a context manager."""

    def __init__(self, answer: Answer, *, early: bool = False) -> None:
        self.answer = answer
        """May be changed at any time."""
        self.requests: list[bytes] = []
        """What was received, head and body, as far as it was read."""
        self._early = early
        self._stopping = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            while (request := self._read(connection)) and not self._stopping.is_set():
                self.requests.append(request)
                if not self._play(connection):
                    return

    def _read(self, connection: socket.socket) -> bytes:
        """Read a request; only its head when it is answered early."""
        received = b""
        while True:
            head, end, body = received.partition(b"\r\n\r\n")
            length = _LENGTH.search(head)
            if end and (self._early or len(body) >= int(length[1] if length else 0)):
                return received
            more = connection.recv(65536)
            if not more:
                return b""
            received += more

    def _play(self, connection: socket.socket) -> bool:
        """Send the answer; tell whether the connection stays open."""
        for step in self.answer():
            if step is RESET:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            if isinstance(step, float):
                if self._stopping.wait(step):
                    return False
            else:
                connection.sendall(step)
        return getattr(self.answer, "keeps", False)


def answer(status: str = "200 OK", body: bytes = b"{}", *headers: str, claimed: int | None = None) -> Answer:
    """Make an answer of one piece; `claimed` is the Content-Length it gives when that is not the body's."""
    length = len(body) if claimed is None else claimed
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {length}", "Content-Type: application/json", *headers]
    whole = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body

    def steps() -> Iterator[Step]:
        yield whole

    steps.keeps = claimed is None  # type: ignore[attr-defined] # a mark of ours
    return steps


def forever(start: bytes, drop: bytes, pause: float = _PAUSE) -> Answer:
    """Make an answer that begins and never ends."""

    def steps() -> Iterator[Step]:
        yield start
        for _ in itertools.count():
            yield drop
            yield pause

    return steps


_CHUNKED: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_COMPRESSED: Final = ("Content-Encoding: gzip",)


def _reset_inside() -> Iterator[Step]:
    yield b"HTTP/1.1 200 O"
    yield RESET


def _reset_in_the_body() -> Iterator[Step]:
    yield b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"
    yield RESET


ANSWERS: Final[Mapping[str, Answer]] = {
    "cookies": answer("200 OK", b"{}", "Set-Cookie: a=1; Path=/", "Set-Cookie: b=" + "x" * 3000),
    "undecodable": answer("200 OK", b"ok", *_COMPRESSED),
    "undecodable refusal": answer("400 Bad Request", b"no", *_COMPRESSED),
    "bomb": answer("200 OK", gzip.compress(bytes(2**26)), *_COMPRESSED),
    "flood": forever(_CHUNKED, b"10000\r\n" + bytes(2**16) + b"\r\n", 0.0),
    "flood of a fault": forever(
        b"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + bytes(2**16) + b"\r\n", 0.0
    ),
    "body that drips": forever(_CHUNKED, b"1\r\n.\r\n"),
    "head that drips": forever(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"."),
    "headers without end": forever(b"HTTP/1.1 200 OK\r\n", b"X-Slow: 1\r\n"),
    "interim answers without end": forever(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "interim answer": answer("103 Early Hints\r\n\r\nHTTP/1.1 200 OK"),
    "huge head": answer("200 OK", b"{}", "X-Huge: " + "x" * 2**20),
    "cut short": answer("200 OK", b"{", claimed=100),
    "cut refusal": answer("400 Bad Request", b"{", claimed=100),
    "too long": answer("200 OK", b"{}HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", claimed=2),
    "redirect": answer("307 Temporary Redirect", b"", "Location: http://[bad/x"),
    "redirect elsewhere": answer("302 Found", b"", "Location: http://127.0.0.1:1/elsewhere"),
    "reset in the head": _reset_inside,
    "reset in the body": _reset_in_the_body,
    "nothing": lambda: iter(()),
    "no HTTP": lambda: iter((b"SSH-2.0-OpenSSH_9.2\r\n",)),
    "impossible status": answer("9999999 What"),
    "odd length": answer("200 OK", b"{}", "Content-Length: minus"),
    "unending Retry-After": answer("429 Too Many", b"", "Retry-After: " + "9" * 400),
    "late Retry-After": answer("503 Busy", b"", "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT"),
}  # fmt: skip
"""What destinations have been seen to answer, and worse."""
