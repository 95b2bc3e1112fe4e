"""Tokens of an identity provider (JWT, RFC 7519): checked once, then known until they expire."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

from auditflow.errors import MissingExtra
from auditflow.ingest.auth.key_set import KeySet
from auditflow.ingest.auth.principal import Principal, is_tenant, scopes_of
from auditflow.ingest.auth.settings import JwtConfig

KEPT_TOKENS: Final = 10_000
LONGEST_TOKEN: Final = 16 * 2**10
REQUIRED: Final = ["exp", "iss", "aud"]


class Refusal(StrEnum):
    """Why a call was refused; for the metric and the record, never for the caller."""

    MISSING = "missing"
    """No credential, or none of a kind that is configured."""
    KEY = "key"
    """An API key that is unknown, wrong, revoked or expired."""
    TOKEN = "token"  # noqa: S105 - a reason
    """No token, or signed by nobody we trust, or not the way we trust."""
    EXPIRED = "expired"
    """A token whose time is over, or has not come yet."""
    CLAIMS = "claims"
    """A token of another issuer, for somebody else, or without a claim that is needed."""
    GATEWAY = "gateway"
    """Headers of a gateway from somebody who is not the gateway, without a tenant, or without sense."""
    REPEATED = "repeated"
    """A header that says who calls, more than once."""
    SCOPE = "scope"
    """A good credential, but not for this."""


class Refused(Exception):
    """A credential is not accepted."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason)
        self.reason = reason


class Tokens:
    """Checks tokens. Raises MissingExtra when the package for it is not installed."""

    def __init__(
        self,
        config: JwtConfig,
        keys: KeySet | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        try:
            import jwt
            from jwt.algorithms import has_crypto
        except ImportError:
            has_crypto = False
        if not has_crypto:
            raise MissingExtra(what="auth.jwt", package="pyjwt[crypto]", extra="jwt")
        self._jwt = jwt
        self._config = config
        self._keys = keys or KeySet(config)
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[float, Principal]] = OrderedDict()
        self._version = 0

    def known(self, token: str) -> Principal | None:
        """Give whose token this is where it was checked before, with the keys that the provider still has."""
        digest = hashlib.sha256(token.encode()).digest()
        until, principal = self._known.get(digest, (0.0, None))
        if principal is None or not self._keys.usable() or self._forget_old_keys():
            return None
        if self._clock() >= until:
            del self._known[digest]
            return None
        self._known.move_to_end(digest)
        return principal

    async def check(self, token: str) -> Principal:
        """Check a token; give whose it is. Raises Refused, TokensUncheckable."""
        algorithm, number = self._header(token)
        key = await self._keys.find(number)
        if key is None or key.algorithm not in {None, algorithm}:
            raise Refused(Refusal.TOKEN)
        claims = self._claims(token, key.key)
        principal = self._principal(claims)
        self._forget_old_keys()
        until = _seconds(claims["exp"]) + self._config.leeway
        self._known[hashlib.sha256(token.encode()).digest()] = until, principal
        if len(self._known) > KEPT_TOKENS:
            self._known.popitem(last=False)
        return principal

    def _forget_old_keys(self) -> bool:
        """Forget every token when the provider's keys have changed: some may be signed by one that it has withdrawn."""
        if self._version == self._keys.version:
            return False
        self._known.clear()
        self._version = self._keys.version
        return True

    def _header(self, token: str) -> tuple[str, str | None]:
        """Give algorithm and key id that a token names. Raises Refused where we do not trust the algorithm."""
        try:
            header = self._jwt.get_unverified_header(token) if len(token) <= LONGEST_TOKEN else {}
        except Exception:  # noqa: BLE001 - whatever it does to a parser, such as nesting: it is no token
            header = {}
        algorithm, number = header.get("alg"), header.get("kid")
        if algorithm not in self._config.algorithms:
            raise Refused(Refusal.TOKEN)
        return algorithm, None if number is None else str(number)

    def _claims(self, token: str, key: Any) -> dict[str, Any]:
        expired = self._jwt.ExpiredSignatureError, self._jwt.ImmatureSignatureError
        others = (
            self._jwt.InvalidIssuerError,
            self._jwt.InvalidAudienceError,
            self._jwt.MissingRequiredClaimError,
        )
        try:
            claims: dict[str, Any] = self._jwt.decode(
                token,
                key,
                algorithms=list(self._config.algorithms),
                issuer=self._config.issuer,
                audience=self._config.audience,
                leeway=self._config.leeway,
                options={"require": REQUIRED, "enforce_minimum_key_length": True},
            )
        except expired:
            raise Refused(Refusal.EXPIRED) from None
        except others:
            raise Refused(Refusal.CLAIMS) from None
        except Exception:  # noqa: BLE001 - whatever else is wrong with it
            raise Refused(Refusal.TOKEN) from None
        return claims

    def _principal(self, claims: dict[str, Any]) -> Principal:
        tenant = claims.get(self._config.tenant_claim)
        if tenant is None:
            if not self._config.tenant_optional:
                raise Refused(Refusal.CLAIMS)
        elif not isinstance(tenant, str) or not is_tenant(tenant):
            raise Refused(Refusal.CLAIMS)
        name = next((claims[claim] for claim in ("sub", "client_id", "azp") if claims.get(claim)), "token")
        return Principal(str(name), tenant, self._scopes(claims))

    def _scopes(self, claims: dict[str, Any]) -> frozenset[str]:
        named = self._config.scopes_claim
        granted = claims.get(named) if named else claims.get("scope", claims.get("scp"))
        if isinstance(granted, str):
            granted = granted.split()
        names = granted if isinstance(granted, list) else []
        return scopes_of(name for name in names if isinstance(name, str))


def _seconds(number: Any) -> float:
    """Give a time of a token; one that no float holds is refused."""
    try:
        return float(number)
    except (OverflowError, ValueError, TypeError):
        raise Refused(Refusal.CLAIMS) from None
