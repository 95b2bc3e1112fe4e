"""Connections to AWS that owe nothing to the other side: an answer has so much time and so much room.

botocore bounds each wait for bytes, not the whole: a head or a body that drips would hold its thread for ever. It
also reads whatever size an answer has.
"""

from __future__ import annotations

import io
import socket
import time
from http import HTTPStatus
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

ANSWER_SECONDS: Final = 20.0
"""How long an answer may take from the end of the request to its own."""
ANSWER_BYTES: Final = 16 * 2**20
"""More than any page of CloudWatch Logs holds: 10,000 rows, 1 MiB of events."""


def bound_answers(client: Any) -> None:
    """Let a new botocore client make only connections whose answers are bounded."""
    from botocore.awsrequest import (
        AWSHTTPConnection,
        AWSHTTPConnectionPool,
        AWSHTTPSConnection,
        AWSHTTPSConnectionPool,
    )

    class Connection(AWSHTTPConnection):  # type: ignore[misc] # botocore has no types
        response_class = _Response

    class SecureConnection(AWSHTTPSConnection):  # type: ignore[misc] # botocore has no types
        response_class = _Response

    class Pool(AWSHTTPConnectionPool):  # type: ignore[misc] # botocore has no types
        ConnectionCls = Connection

    class SecurePool(AWSHTTPSConnectionPool):  # type: ignore[misc] # botocore has no types
        ConnectionCls = SecureConnection

    # Managers of proxies are made later, from the same mapping.
    client._endpoint.http_session._pool_classes_by_scheme.update(http=Pool, https=SecurePool)  # noqa: SLF001 - no other way


class _Response(HTTPResponse):
    """An answer, also a proxy's to CONNECT, that is read from a bounded stream."""

    def __init__(self, sock: socket.socket, *arguments: Any, **named: Any) -> None:
        super().__init__(sock, *arguments, **named)
        self.fp = io.BufferedReader(_BoundedStream(sock))

    def begin(self) -> None:
        """Read the head. Redirects are not followed, but urllib3 would parse where they lead, and fail."""
        super().begin()
        del self.headers["Location"]

    def _read_status(self) -> tuple[str, int, str]:
        """Take each interim answer for `100 Continue`, which is skipped: it would be taken for the final one."""
        version, status, reason = super()._read_status()  # type: ignore[misc] # not in the library's types
        interim = HTTPStatus.SWITCHING_PROTOCOLS < status < HTTPStatus.OK
        return version, HTTPStatus.CONTINUE if interim else status, reason


class _BoundedStream(io.RawIOBase):
    """What a socket brings, until time or room is used up.

    Too much ends it like an end of file, so that the status still counts. Too late is a TimeoutError.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._stream = sock.makefile("rb", buffering=0)
        self._deadline = time.monotonic() + ANSWER_SECONDS
        self._room = ANSWER_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        if self._room <= 0:
            self._socket.shutdown(socket.SHUT_RDWR)  # what is left must not be taken for the next answer
            return 0
        self._socket.settimeout(left)
        count = self._stream.readinto(buffer)
        self._room -= count or 0
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()
