"""An HTTP server inside our own event loop, on a socket that was bound before anything started."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import uvicorn

from auditflow.apps.http.connection import REQUEST_SECONDS, Connection, close_late
from auditflow.apps.http.handshake import accept
from auditflow.apps.http.listener import BACKLOG
from auditflow.config.tls import RenewableContext, TlsConfig
from auditflow.ingest.auth.watched import Watched
from auditflow.ingest.front.front import Front

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

_log = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """uvicorn without its signal handling: the process decides when to stop. With `tls` it speaks HTTPS."""

    def __init__(
        self, app: Any, shutdown_seconds: float, tls: TlsConfig | None = None, front: Front | None = None
    ) -> None:
        self._tls = tls
        self._make = partial(Connection, front)
        self._context = context = RenewableContext(tls) if tls else None
        super().__init__(
            uvicorn.Config(
                app,
                http=self._make,  # type: ignore[arg-type] # it is called, no more
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                headers=SECURITY_HEADERS + ([HTTPS_ONLY] if context else []),
                proxy_headers=False,  # who connects is who calls: X-Forwarded-For is anybody's word
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
        if self._context:
            self._accepting = asyncio.create_task(self._accept(listener, self._context))
        try:
            await self.serve(sockets=[] if self._context else [listener])
        finally:
            for task in aside:
                task.cancel()

    async def _accept(self, listener: socket.socket, context: ssl.SSLContext) -> None:
        """Accept TLS connections as uvicorn does others, until cancelled."""
        make = partial(self._make, config=self.config, server_state=self.server_state, app_state={})
        with listener:
            await accept(listener, context, make, self.server_state.connections)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more; finish the requests in flight."""
        if self._context:
            self._accepting.cancel()
        await super().shutdown(sockets)

    async def _sweep(self) -> None:
        """Close connections whose requests do not arrive, or whose answers are not read, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            late = close_late(self.server_state.connections, asyncio.get_running_loop().time())
            if late:
                _log.warning(
                    "%d connections were closed: a request has to arrive whole, and an answer to be read, within %.0f s",
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
