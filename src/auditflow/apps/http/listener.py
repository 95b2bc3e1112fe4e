"""Listening sockets: bound by the supervisor, adopted by its roles."""
# Tested in tests/apps/http/test_server.py.

from __future__ import annotations

import contextlib
import errno
import socket
from typing import Final

from auditflow.errors import AddressInUse, AddressUnusable

BACKLOG: Final = 2048
_PORT_REASONS: Final = {errno.EADDRINUSE: "the port is in use", errno.EACCES: "the port needs more rights"}


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
