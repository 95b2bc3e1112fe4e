"""An identity provider on this machine: publishes its keys (JWKS) over real HTTP, and signs whatever a test wants."""
# Tested in tests/ingest/auth/test_tokens.py.

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

AUDIENCE: Final = "auditflow"


class IdentityProvider:
    """A provider with one key at a time. Use as a context manager; needs ``auditflow-server[jwt]``."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {}
        """Private keys by id; all of them are published."""
        self.fetches = 0
        """How often the keys were asked for."""
        self.answer: tuple[int, bytes] | None = None
        """Status and body to give in place of the keys."""
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self.add("first")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()

    @property
    def settings(self) -> dict[str, Any]:
        """What `auth.jwt` has to say to accept its tokens."""
        return {"issuer": self.url, "audience": AUDIENCE, "jwks-url": f"{self.url}/jwks"}

    def add(self, number: str, kind: str = "RS256") -> None:
        """Publish one more key, for RS256 or ES256."""
        self.keys[number] = (
            rsa.generate_private_key(65537, 2048)
            if kind.startswith("RS")
            else ec.generate_private_key(ec.SECP256R1())
        )

    def rotate(self, number: str) -> None:
        """Publish a new key in place of all others."""
        self.keys.clear()
        self.add(number)

    def token(self, number: str | None = None, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """Sign a token, by the newest key unless told otherwise. A claim that is None is left out."""
        number = number or list(self.keys)[-1]
        key, now = self.keys[number], int(time.time())
        known = {"iss": self.url, "aud": AUDIENCE, "sub": "amara", "iat": now, "exp": now + 600}
        said = {name: value for name, value in (known | claims).items() if value is not None}
        algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
        return jwt.encode(said, key, algorithm, {"kid": number} | (headers or {}))

    def jwks(self) -> bytes:
        """Give the public keys as they are published."""
        published = []
        for number, key in self.keys.items():
            kind = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
            public = kind.to_jwk(key.public_key(), as_dict=True)
            published.append({**public, "kid": number, "use": "sig"})
        return json.dumps({"keys": published}).encode()


def _handler(provider: IdentityProvider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            provider.fetches += 1
            status, body = provider.answer or (200, provider.jwks())
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
