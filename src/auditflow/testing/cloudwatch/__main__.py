"""``python -m auditflow.testing.cloudwatch``: the server on its own, until it is told to end."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from auditflow.errors import AddressInUse, AuditFlowError
from auditflow.testing.cloudwatch import certificate
from auditflow.testing.cloudwatch.server import StrictCloudWatch


def main() -> int:
    """Serve until SIGTERM or SIGINT; print the URL when ready."""
    parser = argparse.ArgumentParser(prog="python -m auditflow.testing.cloudwatch", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: a free one)")
    parser.add_argument(
        "--tls",
        type=Path,
        metavar="FOLDER",
        help="serve HTTPS with FOLDER/cert.pem, made when it is not there",
    )
    parser.add_argument("--tls-cert", help="PEM file of the certificate; serves HTTPS")
    parser.add_argument("--tls-key", help="PEM file of its private key")
    parser.add_argument("--counting", action="store_true", help="count events and keep none")
    options = parser.parse_args()
    if options.tls:
        try:
            options.tls_cert, options.tls_key = certificate.in_folder(options.tls)
        except ImportError:
            parser.error(
                "to make a certificate, --tls needs the package cryptography: pip install cryptography"
            )
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        with _server(options) as cloud:
            print(cloud.url, flush=True)  # noqa: T201 - the line that callers wait for
            ended.wait()
    except AuditFlowError as error:
        print(error.explained(), file=sys.stderr)  # noqa: T201 - for the person at the terminal
        return 1
    return 0


def _server(options: argparse.Namespace) -> StrictCloudWatch:
    try:
        return StrictCloudWatch(
            options.port, counting=options.counting, tls_cert=options.tls_cert, tls_key=options.tls_key
        )
    except OSError as error:
        if options.tls_cert:
            raise
        raise AddressInUse(
            host="127.0.0.1", port=options.port, reason=error.strerror, flag="--port"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
