"""Where a server on this machine listens, by its configuration: for health checks and for commands without --url."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from auditflow.errors import AuditFlowError

EVERYWHERE: Final = {"", "0.0.0.0", "::", "[::]"}  # noqa: S104 - to be recognised
PORT, SINK_PORT, HOST = 8080, 8082, "127.0.0.1"
_MOST_BYTES: Final = 2**24 + 1
"""A larger file is no configuration."""


class Listening(NamedTuple):
    """An address to ask at."""

    scheme: str
    host: str
    port: int

    @property
    def url(self) -> str:
        """Write it as a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def listening(environ: Mapping[str, str], *, sink: bool = False) -> Listening:
    """Give where AuditFlow listens, or its sink service: by the environment, else by the file that it names.

    Never fails: what cannot be read counts as not said.
    """
    server = _server(Path(environ.get("AUDITFLOW_CONFIG") or "auditflow.yaml"), environ)
    kind, usual = ("sink-", SINK_PORT) if sink else ("", PORT)
    variable = f"AUDITFLOW_{kind.replace('-', '_').upper()}"
    host = str(environ.get(f"{variable}HOST") or server.get(f"{kind}host") or HOST).strip("[]")
    port = _port(environ.get(f"{variable}PORT")) or _port(server.get(f"{kind}port")) or usual
    return Listening("https" if server.get("tls") else "http", HOST if host in EVERYWHERE else host, port)


def _server(file: Path, environ: Mapping[str, str]) -> Mapping[str, Any]:
    try:
        with file.open("rb") as source:
            content = source.read(_MOST_BYTES)
        if b"server" not in content:
            return {}
        from auditflow.config.document import read  # several times what a health check costs without

        data = read(file, environ, content).data
    except (OSError, AuditFlowError):
        return {}
    server = data.get("server") if isinstance(data, dict) else None
    return server if isinstance(server, dict) else {}


def _port(value: object) -> int:
    try:
        port = int(str(value))
    except ValueError:
        return 0
    return port if 0 < port < 2**16 else 0
