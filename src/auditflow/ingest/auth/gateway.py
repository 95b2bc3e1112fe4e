"""Headers of a gateway that has authenticated the caller, believed from the gateway alone."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Final

from auditflow.event.model import PLATFORM_TENANT
from auditflow.ingest.auth.principal import Principal, is_tenant, scopes_of
from auditflow.ingest.auth.settings import GatewayConfig

CLAIMS: Final = (b"x-auth-tenant", b"x-auth-scopes", b"x-auth-subject")
KEPT_PEERS: Final = 1_000
KEPT_CALLERS: Final = 10_000


class Gateway:
    """Knows the gateway by its address or its secret; either is enough."""

    def __init__(self, config: GatewayConfig) -> None:
        self._addresses = config.addresses
        self._tenant_optional = config.tenant_optional
        self._digest = _digest(config.secret.get_secret_value().encode()) if config.secret else None
        self._listed = lru_cache(KEPT_PEERS)(self._is_listed)

    def look_up(self, headers: Mapping[bytes, bytes], peer: str) -> Principal | None:
        """Tell for whom the gateway calls; None where it is not the gateway, or says nothing that makes sense."""
        if not any(name in headers for name in CLAIMS) or not self._trusts(headers, peer):
            return None
        if CLAIMS[0] not in headers and not self._tenant_optional:
            return None  # a proxy that drops headers without a value would make its caller everybody's
        return _caller(*(headers.get(name) for name in CLAIMS))

    def _trusts(self, headers: Mapping[bytes, bytes], peer: str) -> bool:
        given = headers.get(b"x-auth-secret")
        if given is not None and self._digest is not None:
            return hmac.compare_digest(_digest(given), self._digest) or self._listed(peer)
        return self._listed(peer)

    def _is_listed(self, peer: str) -> bool:
        try:
            address = ip_address(peer)
        except ValueError:  # a Unix socket has none
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in network for network in self._addresses)


def _digest(secret: bytes) -> bytes:
    """Hash, so that comparing tells nothing, not even a length."""
    return hashlib.sha256(secret).digest()


@lru_cache(KEPT_CALLERS)
def _caller(tenant: bytes | None, scopes: bytes | None, subject: bytes | None) -> Principal | None:
    """Give the caller of these headers. Blank or `-` is the platform's tenant, None is any."""
    own = None if tenant is None else tenant.decode("latin-1").strip()
    if own in {"", "-"}:
        own = PLATFORM_TENANT
    if own is not None and not is_tenant(own):
        return None
    granted = (scopes or b"").decode("latin-1").replace(",", " ").split()
    return Principal((subject or b"gateway").decode("latin-1"), own, scopes_of(granted))
