"""Finds out who calls, by whatever ways the configuration admits."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from auditflow.errors import Forbidden, Unauthorized
from auditflow.ingest.auth.gateway import CLAIMS, Gateway
from auditflow.ingest.auth.keys import PREFIX, Keys
from auditflow.ingest.auth.principal import Principal
from auditflow.ingest.auth.settings import AuthConfig
from auditflow.ingest.auth.tokens import Refusal, Refused, Tokens
from auditflow.telemetry import metrics

TELL_SECONDS: Final = 60.0
"""A refusal is told again, for the same reason and peer, after this time."""
TOLD: Final = 1_000
"""Peers and reasons remembered for that; beyond, refusals are only counted, so that a flood fills no log."""

IDENTITY: Final = frozenset({b"authorization", b"x-api-key", b"x-auth-secret", *CLAIMS})
"""Headers that say who calls."""

_log = logging.getLogger(__name__)

Headers = Mapping[bytes, bytes]
"""Of a request, their names in lower case, as ASGI has them."""


class Authenticator:
    """Knows callers by API key, token or gateway, as configured. `keys` is the file of keys where none is configured."""

    def __init__(self, config: AuthConfig, keys: Path) -> None:
        self.scopes = config.scopes
        """Names of the rights."""
        self.on_refused: Callable[[str, str], None] | None = None
        """Called with the reason (a `Refusal`) and the peer's address, at most once a minute for the same two."""
        self._gateway = Gateway(config.gateway) if config.gateway else None
        self._keys = Keys(config.api_keys.file or keys) if config.api_keys else None
        self._tokens = Tokens(config.jwt) if config.jwt else None
        self._told: dict[tuple[str, str], float] = {}

    def single(self, headers: Iterable[tuple[bytes, bytes]], peer: str) -> Headers:
        """Give the headers by name. Raises Unauthorized where one that says who calls is repeated."""
        given = list(headers)
        once = dict(given)
        if len(once) < len(given):
            names = [name for name, _ in given if name in IDENTITY]
            if len(set(names)) < len(names):
                self._count(Refusal.REPEATED, peer)
                raise Unauthorized(reason="a header that says who calls is repeated", sent=True)
        return once

    async def admit(self, headers: Headers, peer: str, scope: str) -> Principal:
        """Give the caller, who has the scope. Raises Unauthorized, Forbidden, TokensUncheckable."""
        principal = self.known(headers, peer) or await self.authenticate(headers, peer)
        try:
            principal.require(scope)
        except Forbidden:
            self._count(Refusal.SCOPE, peer)
            raise
        return principal

    def known(self, headers: Headers, peer: str) -> Principal | None:
        """Give a caller who can be told without waiting, within microseconds; None leaves it to `authenticate`."""
        if self._gateway and (principal := self._gateway.look_up(headers, peer)):
            return principal
        credential = _credential(headers)
        if credential.startswith(PREFIX):
            return self._keys.look_up(credential) if self._keys else None
        return self._tokens.known(credential) if self._tokens and credential else None

    async def authenticate(self, headers: Headers, peer: str) -> Principal:
        """Give the caller. Raises Unauthorized, and TokensUncheckable where only waiting helps."""
        principal = self.known(headers, peer)
        if principal is not None:
            return principal
        credential = _credential(headers)
        try:
            return await self._checked(credential, headers)
        except Refused as refused:
            self._count(refused.reason, peer)
            reason = "the credential is not accepted" if credential else "no credential was sent"
            raise Unauthorized(reason=reason, sent=bool(credential)) from None

    async def _checked(self, credential: str, headers: Headers) -> Principal:
        """Check what is not known yet: a token, if anything."""
        if credential.startswith(PREFIX) and self._keys:
            raise Refused(Refusal.KEY)
        if credential and self._tokens:
            return await self._tokens.check(credential)
        claimed = self._gateway and any(name in headers for name in CLAIMS)
        raise Refused(Refusal.GATEWAY if claimed else Refusal.MISSING)

    def _count(self, reason: Refusal, peer: str) -> None:
        """Count a refusal, and tell of it unless that was done just now."""
        metrics.REFUSED.labels(reason).inc()
        now = time.monotonic()
        if len(self._told) >= TOLD:
            self._told = {one: at for one, at in self._told.items() if now - at < TELL_SECONDS}
        if len(self._told) < TOLD and now - self._told.get((reason, peer), -TELL_SECONDS) >= TELL_SECONDS:
            self._told[reason, peer] = now
            _log.warning("a call from %s was refused: %s", peer or "an unknown address", reason)
            if self.on_refused is not None:
                self.on_refused(reason, peer)


def _credential(headers: Headers) -> str:
    """Give the key or token that was sent; empty when there is none."""
    scheme, _, value = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"bearer":
        value = headers.get(b"x-api-key", b"")
    return value.strip().decode("latin-1")


def authenticator_of(config: AuthConfig | None, keys: Path) -> Authenticator | None:
    """Give what the configuration asks for; None where anyone may call. Raises MissingExtra."""
    return None if config is None or config.insecure_allow_anyone else Authenticator(config, keys)
