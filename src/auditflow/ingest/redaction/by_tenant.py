"""The redaction rules in force: everybody's, and each tenant's own after them."""
# Tested in tests/ingest/redaction/test_offload.py.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from auditflow.errors import RedactionFailed
from auditflow.ingest.redaction.config import RedactionConfig, compile_redaction
from auditflow.ingest.redaction.offload import Offload
from auditflow.ingest.redaction.redactor import Redactor


class Redacted(Protocol):
    """What redaction has to know of a tenant."""

    @property
    def redaction(self) -> RedactionConfig:
        """Its own rules."""


class Redactions:
    """Compiled when rules change, not when events come."""

    def __init__(self, everybody: RedactionConfig, tenants: Mapping[str, Redacted] | None = None) -> None:
        self._own: dict[str, RedactionConfig] = {}
        self._compiled: dict[str, Redactor | None] = {}
        self._offload = Offload()
        self.everybody = everybody
        """The rules for all events."""
        self._common = compile_redaction(everybody)
        self.provision(tenants or {})

    def change(self, everybody: RedactionConfig) -> None:
        """Put other rules for all events in force."""
        if everybody != self.everybody:
            self.everybody, self._common, self._compiled = everybody, compile_redaction(everybody), {}

    def provision(self, tenants: Mapping[str, Redacted]) -> None:
        """Put these tenants' own rules in force."""
        own = {name: tenant.redaction for name, tenant in tenants.items() if tenant.redaction.rules}
        if own != self._own:
            self._own, self._compiled = own, {}

    async def redact(
        self, events: list[bytes], tenants: Sequence[str]
    ) -> tuple[list[bytes], dict[int, RedactionFailed]]:
        """Give the events redacted, and why those that cannot be are not, by place. Those must not be stored."""
        redacted: list[bytes] = list(events)
        failed: dict[int, RedactionFailed] = {}
        for redactor, places in self._by_redactor(tenants):
            if redactor is None or not places:
                continue
            chosen = events if len(places) == len(events) else [events[at] for at in places]
            results = await self._offload.redact(redactor, chosen, tenants[places[0]])
            for at, result in zip(places, results, strict=True):
                if isinstance(result, RedactionFailed):
                    failed[at] = result
                else:
                    redacted[at] = result
        return redacted, failed

    def _by_redactor(self, tenants: Sequence[str]) -> list[tuple[Redactor | None, Sequence[int]]]:
        """Group the places of the events by the rules that hold for them: mostly there is one group."""
        if self._own.keys().isdisjoint(tenants):
            return [(self._common, range(len(tenants)))]
        groups: dict[str, list[int]] = {}
        for at, tenant in enumerate(tenants):
            groups.setdefault(tenant if tenant in self._own else "", []).append(at)
        return [(self._redactor(tenant), places) for tenant, places in groups.items()]

    def _redactor(self, tenant: str) -> Redactor | None:
        if not tenant:
            return self._common
        if tenant not in self._compiled:
            self._compiled[tenant] = compile_redaction(self.everybody, self._own[tenant])
        return self._compiled[tenant]
