"""``python -m auditflow.apps.health``: exits with 0 while AuditFlow answers on this machine; containers are checked by it."""

from __future__ import annotations

import os
import ssl
import sys
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final

from auditflow.apps.http.listening import listening

SECONDS: Final = 2.0
"""How long each of two attempts may take."""


def main() -> None:
    """Ask where environment and configuration say that `serve` listens: delivery alone has the sink service only."""
    place = listening(os.environ, sink=os.environ.get("AUDITFLOW_ROLE") == "delivery")
    sys.exit(not answers(place.port, place.host))


def answers(port: int, host: str = "127.0.0.1") -> bool:
    """Tell whether a server on this machine is alive, by HTTP or HTTPS."""
    return _is_alive(HTTPConnection(host, port, timeout=SECONDS)) or _is_alive(
        HTTPSConnection(host, port, timeout=SECONDS, context=trusting())
    )


def _is_alive(connection: HTTPConnection) -> bool:
    try:
        connection.connect()
    except OSError:
        return False
    try:
        connection.request("GET", "/live")
        return connection.getresponse().status == 200  # noqa: PLR2004 - OK, RFC 9110 §15.3.1
    except TimeoutError:
        return False
    except (OSError, HTTPException):  # shaking hands and closing is the answer to who lacks a certificate
        return isinstance(connection, HTTPSConnection)
    finally:
        connection.close()


def trusting() -> ssl.SSLContext:
    """Trust whoever answers: nothing secret is said, and its certificate need not be for 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


if __name__ == "__main__":
    main()
