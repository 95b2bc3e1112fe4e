"""The section `auth` of the configuration: who may call."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, field_validator, model_validator

from auditflow.ingest.auth.principal import is_scope
from auditflow.settings import LocatedPath, Settings, misfit
from auditflow.units import Duration

SHORTEST_GATEWAY_SECRET: Final = 32
_HERE: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def _scope(name: str) -> str:
    if not is_scope(name):
        raise misfit("a scope is printable ASCII without blanks, quotes and backslashes")
    return name


def _https(url: str) -> str:
    if not _is_safe(url):
        raise misfit(
            "expected an https:// address", "plain http is for loopback only: keys must not be forged"
        )
    return url


def _is_safe(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _HERE)


def _network(text: Any) -> Any:
    try:
        return ip_network(text)
    except ValueError:
        hint = "write 192.0.2.1, or 10.0.0.0/8 with zeros behind the prefix"
        raise misfit("expected an address or a network", hint) from None


Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]
Scope = Annotated[str, AfterValidator(_scope)]
Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]  # fmt: skip
"""Asymmetric ones alone: with HS256 whoever can check a token can make one, and `none` checks nothing."""


class ApiKeysConfig(Settings):
    """Keys that `auditflow keys` makes."""

    file: LocatedPath | None = None
    """Where they are kept, hashed; without it, `keys.json` in the data directory."""


class JwtConfig(Settings):
    """Tokens (JWT) of an OpenID Connect provider, or of any other that publishes its keys."""

    issuer: Annotated[str, Field(min_length=1)]
    """What the claim `iss` has to say, to the letter."""
    audience: Annotated[str, Field(min_length=1)]
    """What the claim `aud` has to hold: the name under which the provider knows AuditFlow."""
    jwks_url: Annotated[str, AfterValidator(_https)] | None = None
    """Where the provider publishes its keys: `jwks_uri` of its `/.well-known/openid-configuration`."""
    jwks_file: LocatedPath | None = None
    """File with the keys, in place of jwks-url; read again when it changes."""
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = ("RS256", "ES256")
    """Signatures that are accepted."""
    leeway: Annotated[Duration, Field(le=300)] = 30.0
    """How far the provider's clock may be from this one."""
    tenant_claim: Annotated[str, Field(min_length=1)] = "tenant"
    """Claim with the caller's tenant."""
    tenant_optional: bool = False
    """Whether a token without that claim is accepted: its owner publishes for, and sees, every tenant."""
    scopes_claim: Annotated[str, Field(min_length=1)] | None = None
    """Claim with the scopes, a list or text with blanks between; if left out, `scope`, or `scp` where that is missing."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.jwks_url is None) == (self.jwks_file is None):
            raise misfit("give either jwks-url or jwks-file", "jwks-url is what most providers have")
        return self


class GatewayConfig(Settings):
    """A gateway that has authenticated the caller, and says whom in X-Auth-Tenant, X-Auth-Scopes and X-Auth-Subject.

    It has to remove these headers from what its clients send.
    """

    addresses: tuple[Network, ...] = ()
    """Addresses or networks (CIDR) whose headers are believed."""
    secret: SecretStr | None = None
    """What X-Auth-Secret has to say for the headers to be believed from elsewhere; at least 32 characters."""
    tenant_optional: bool = False
    """Whether a call without X-Auth-Tenant is accepted: it publishes for, and sees, every tenant."""

    @field_validator("secret")
    @classmethod
    def _long(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and len(secret.get_secret_value()) < SHORTEST_GATEWAY_SECRET:
            raise misfit(
                f"shorter than {SHORTEST_GATEWAY_SECRET} characters", "make one: openssl rand -hex 32"
            )
        return secret

    @model_validator(mode="after")
    def _some_reason(self) -> Self:
        if not self.addresses and self.secret is None:
            raise misfit("needs addresses or a secret", "otherwise anybody could claim to be the gateway")
        return self


class ScopesConfig(Settings):
    """Names of the three rights. None of them contains another."""

    publish: Scope = "audit-event:write"
    """Publish events."""
    read: Scope = "audit-event:read"
    """Read status, events, dead letters and metrics."""
    operate: Scope = "audit-event:operate"
    """Pause, resume, replay, purge, reload; and the whole sink service."""


class AuthConfig(Settings):
    """Who may call. Without this section only loopback addresses can be listened on."""

    api_keys: ApiKeysConfig | None = None
    """API keys; `{}` takes everything as it comes."""
    jwt: JwtConfig | None = None
    """Tokens of an identity provider."""
    gateway: GatewayConfig | None = None
    """Headers of a gateway in front."""
    scopes: ScopesConfig = ScopesConfig()
    """Names of the rights, where the identity provider has others."""
    insecure_allow_anyone: bool = False
    """Let everybody who can reach AuditFlow do everything. Only where what is in front of it authenticates them all."""

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        ways = [way for way in (self.api_keys, self.jwt, self.gateway) if way is not None]
        if ways and self.insecure_allow_anyone:
            raise misfit("insecure-allow-anyone makes the rest of `auth` void", "take out one of the two")
        if not ways and not self.insecure_allow_anyone:
            raise misfit(
                "nobody could call", "give api-keys, jwt or gateway; `api-keys: {}` is enough to begin"
            )
        return self
