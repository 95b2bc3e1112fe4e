"""HTTP/1.1 on a loopback socket: one thread for each connection, kept alive, TLS on request."""

from __future__ import annotations

import socket
import socketserver
import ssl
import struct
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Final, NoReturn

from auditflow.testing.cloudwatch.protocol import Answer
from auditflow.testing.cloudwatch.sts.identities import Signed

_DRIPS: Final = 20
_CLOSING_SECONDS: Final = 5.0

Respond = Callable[[Signed], Answer | None]


class HttpServer(socketserver.TCPServer):
    """Serves `respond` until it is stopped; then closes every connection."""

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, port: int, respond: Respond, tls: ssl.SSLContext | None) -> None:
        self.respond = respond
        self.tls = tls
        self.stopping = threading.Event()
        self._open: dict[threading.Thread, socket.socket] = {}
        super().__init__(("127.0.0.1", port), _Handler)
        self._accepting = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.02}, name="strict-cloudwatch", daemon=True
        )

    @property
    def url(self) -> str:
        """Give the address that clients use as their endpoint."""
        return f"{'http' if self.tls is None else 'https'}://127.0.0.1:{self.server_address[1]}"

    def start(self) -> None:
        """Accept connections, in a thread."""
        self._accepting.start()

    def stop(self) -> None:
        """Stop accepting, cut what is open and wait for its threads."""
        self.stopping.set()
        if self._accepting.is_alive():
            self.shutdown()
            self._accepting.join()
        for thread, connection in list(self._open.items()):
            _quietly(connection.shutdown, socket.SHUT_RDWR)
            thread.join(_CLOSING_SECONDS)
        self.server_close()

    def get_request(self) -> tuple[Any, Any]:
        """Accept; the TLS handshake is left to the connection's own thread."""
        connection, address = super().get_request()
        if self.tls is not None:
            connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, known to `stop` from the start."""
        thread = threading.Thread(target=self._serve, args=(request, client_address), daemon=True)
        self._open[thread] = request
        thread.start()

    def _serve(self, connection: Any, address: Any) -> None:
        try:
            self.finish_request(connection, address)
        except Exception:  # noqa: BLE001 - whatever it was, it ends this connection only
            self.handle_error(connection, address)
        finally:
            self.shutdown_request(connection)
            del self._open[threading.current_thread()]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that clients broke; faults of the server itself are shown."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: HttpServer

    def _serve(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdecimal():
            self.close_connection = True
            self._send(Answer(HTTPStatus.LENGTH_REQUIRED, b"", "text/plain"))
            return
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.respond(Signed(self.command, self.path, headers, body))
        if answer is None or self.server.stopping.is_set():
            self._reset()
        else:
            self._send(answer)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the names that http.server calls

    def _send(self, answer: Answer) -> None:
        self.close_connection |= answer.cut
        lines = [
            f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
            f"Date: {self.date_time_string()}",
            f"Content-Type: {answer.content_type}",
            f"Content-Length: {len(answer.body)}",
            *(f"{name}: {value}" for name, value in answer.headers.items()),
            *(["Connection: close"] if self.close_connection else []),
        ]
        # Head and body in one segment: two would wait for the client's delayed acknowledgement.
        body = answer.body[: len(answer.body) // 2] if answer.cut else answer.body
        whole = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body
        if not answer.drip:
            self.wfile.write(whole)
            return
        step = -(-len(whole) // _DRIPS)
        for start in range(0, len(whole), step):
            if self.server.stopping.wait(answer.drip / _DRIPS):
                return
            self.wfile.write(whole[start : start + step])

    def _reset(self) -> NoReturn:
        """Close with RST: with a linger of zero seconds the kernel drops what is unsent."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.connection.close()
        raise ConnectionResetError

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Write nothing: the log of requests holds it all."""


def _quietly(act: Callable[..., object], *args: object) -> None:
    try:
        act(*args)
    except OSError:  # the peer was faster
        return
