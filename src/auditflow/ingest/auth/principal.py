"""Whoever a call comes from, once that is known."""
# Tested in tests/ingest/auth/test_authenticator.py.

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from auditflow.errors import Forbidden
from auditflow.event.model import PLATFORM_TENANT, TENANT_PATTERN

is_tenant: Final = re.compile(f"{TENANT_PATTERN}|^{PLATFORM_TENANT}$").fullmatch
is_scope: Final = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+").fullmatch
"""A scope is printable ASCII without blank, quote and backslash (RFC 6749 §3.3)."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller: its name for the record, its tenant, and what it may do."""

    name: str
    tenant: str | None
    """Its own tenant, whatever an event says; None for one that acts for every tenant."""
    scopes: frozenset[str] | None
    """None is every scope there is."""

    def require(self, scope: str) -> None:
        """Raise Forbidden unless the caller has the scope."""
        if self.scopes is not None and scope not in self.scopes:
            raise Forbidden(scope=scope)


ANYONE: Final = Principal("anyone", None, None)
"""Every caller of a server without authentication."""


def scopes_of(names: Iterable[str]) -> frozenset[str]:
    """Give the names that are well-formed scopes."""
    return frozenset(name for name in names if is_scope(name))
