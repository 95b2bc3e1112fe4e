"""An HTTP server inside our own event loop, on a socket that was bound before anything started."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Iterator
from typing import Any, Final

import uvicorn

from auditflow.apps.http.connection import REQUEST_SECONDS, Connection, close_late
from auditflow.config.tls import RenewableContext, TlsConfig
from auditflow.errors import AddressInUse, AddressUnusable
from auditflow.ingest.auth.watched import Watched

BACKLOG: Final = 2048
KEEP_ALIVE_SECONDS: Final = 75
"""Longer than the idle time of usual load balancers (60 s), so that they close first and no request is lost."""

_CONTENT: Final = (
    "default-src 'none'; connect-src 'self'; img-src 'self'; script-src 'self'; style-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS: Final = [
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-store"),
    ("Referrer-Policy", "no-referrer"),
    ("Content-Security-Policy", _CONTENT),
]
"""On every answer: a page has what this server itself gives it, and nothing else."""
CERTIFICATE_SECONDS: Final = 5.0
"""How often the files of `server.tls` are looked at."""
SWEEP_SECONDS: Final = 2.0
"""How often connections are looked through for clients that are late."""
HTTPS_ONLY: Final = ("Strict-Transport-Security", "max-age=31536000")

_PORT_REASONS: Final = {errno.EADDRINUSE: "the port is in use", errno.EACCES: "the port needs more rights"}

_log = logging.getLogger(__name__)


def bind(host: str, port: int, flag: str) -> socket.socket:
    """Bind a listening socket; port 0 takes a free one.

    Raises AddressInUse or AddressUnusable, which name the flag to change; `flag` is the port's.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with contextlib.ExitStack() as undo:
            listener = undo.enter_context(socket.socket(family, kind, proto))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
            undo.pop_all()  # all went well: it stays open
    except (OSError, UnicodeError) as error:  # UnicodeError: what cannot be a name of a host
        if reason := _PORT_REASONS.get(getattr(error, "errno", 0)):
            raise AddressInUse(host=host, port=port, reason=reason, flag=flag) from None
        reason = getattr(error, "strerror", "") or "it is not an address"
        raise AddressUnusable(host=host, reason=reason, flag=flag.replace("port", "host")) from None
    return listener


def adopt(descriptor: int) -> socket.socket:
    """Take over a listening socket that a parent process has bound."""
    return socket.socket(fileno=descriptor)


class Server(uvicorn.Server):
    """uvicorn without its signal handling: the process decides when to stop. With `tls` it speaks HTTPS."""

    def __init__(self, app: Any, shutdown_seconds: float, tls: TlsConfig | None = None) -> None:
        self._tls = tls
        self._context = context = RenewableContext(tls) if tls else None
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                headers=SECURITY_HEADERS + ([HTTPS_ONLY] if context else []),
                proxy_headers=False,  # who connects is who calls: X-Forwarded-For is anybody's word
                ssl_context_factory=(lambda *_: context) if context else None,
                lifespan="off",
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=max(1, int(shutdown_seconds)),
                backlog=BACKLOG,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the process."""
        yield

    async def run_on(self, listener: socket.socket) -> None:
        """Serve until `stop`, then finish the requests in flight."""
        aside = [asyncio.create_task(self._follow()), asyncio.create_task(self._sweep())]
        try:
            await self.serve(sockets=[listener])
        finally:
            for task in aside:
                task.cancel()

    async def _sweep(self) -> None:
        """Close connections whose requests do not arrive, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            late = close_late(self.server_state.connections, asyncio.get_running_loop().time())
            if late:
                _log.warning(
                    "%d connections were closed: a request has to arrive whole within %.0f s",
                    late,
                    REQUEST_SECONDS,
                )

    async def _follow(self) -> None:
        """Use the files of `server.tls` as they become, until cancelled."""
        if self._tls is None or self._context is None:
            return
        tls = self._tls
        files = Watched(*(path for path in (tls.certificate, tls.key, tls.client_ca) if path))
        files.changed()
        while True:
            await asyncio.sleep(CERTIFICATE_SECONDS)
            if files.changed():
                try:
                    self._context.renew(tls)
                except OSError as error:
                    _log.error("the new certificates cannot be used, the old ones stay: %s", error)
                else:
                    _log.info("the certificates were renewed")

    def stop(self) -> None:
        """Accept no more and end once the requests in flight are answered."""
        self.should_exit = True
