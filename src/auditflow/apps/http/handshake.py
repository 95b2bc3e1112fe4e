"""TLS connections until their handshakes are done: counted, bounded in time, and ended with the server like any other.

When an event loop listens for TLS itself, the server hears of a connection after its handshake: whoever never
finishes one would be counted by nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final

from auditflow.apps.http.connection import REQUEST_SECONDS, Connection, is_crowded

_LOOPS_OWN_SECONDS: Final = 2 * REQUEST_SECONDS
"""The event loop's limit on a handshake. Ours comes first, for it counts what it ends."""
_RETRY_SECONDS: Final = 1.0
"""How long no connection is accepted after one could not be."""

_log = logging.getLogger(__name__)


async def accept(
    listener: socket.socket, context: ssl.SSLContext, make: Callable[[], Connection], connections: set[Any]
) -> None:
    """Accept connections and shake hands, until cancelled. Each is among `connections` from its first moment."""
    loop = asyncio.get_running_loop()
    listener.setblocking(False)
    while True:
        try:
            accepted, _ = await loop.sock_accept(listener)
        except ConnectionAbortedError:  # the client has gone already: others wait behind it
            continue
        except OSError as error:  # no descriptor is left
            _log.warning("a connection cannot be accepted: %s", error.strerror)
            await asyncio.sleep(_RETRY_SECONDS)
            continue
        handshake = Handshake(accepted, loop.time(), connections)
        if is_crowded(connections):
            handshake.forget()
        else:
            handshake.begin(context, make)


class Handshake:
    """A connection whose handshake is under way; it stands among the server's connections as they do."""

    def __init__(self, accepted: socket.socket, now: float, connections: set[Any]) -> None:
        self._socket = accepted
        self._since = now
        self._connections = connections
        connections.add(self)

    def begin(self, context: ssl.SSLContext, make: Callable[[], Connection]) -> None:
        """Shake hands, then make the connection."""
        self._task = asyncio.create_task(self._shake(context, make))
        self._task.add_done_callback(
            self._done
        )  # also called for a task that is cancelled before its first step

    async def _shake(self, context: ssl.SSLContext, make: Callable[[], Connection]) -> None:
        """Let go whoever does not speak TLS: that is no news."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(
            OSError
        ):  # SSLError and TimeoutError are some; the event loop closes the socket
            await loop.connect_accepted_socket(
                make, self._socket, ssl=context, ssl_handshake_timeout=_LOOPS_OWN_SECONDS
            )

    def _done(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            self.forget()
        else:
            self._connections.discard(self)

    def late(self, now: float) -> bool:
        """Tell whether the client has had time enough; `now` is the event loop's time."""
        return now - self._since > REQUEST_SECONDS

    def end(self) -> None:
        """End the connection: there is no request yet that would be owed an answer."""
        self._task.cancel()

    shutdown = end
    """What a server that stops calls."""

    def forget(self) -> None:
        """Close a connection that nobody has taken over."""
        self._connections.discard(self)
        self._socket.close()
