"""Which tenants' events are taken in, and how many: a token bucket for each tenant with a quota.

Quotas count in the process that takes the events in: with several of them each grants the whole quota.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from math import ceil
from typing import Annotated, Protocol

from pydantic import AliasChoices, Field

from auditflow.errors import TenantDisabled, TenantNotProvisioned, TenantRateLimited, TenantRefused
from auditflow.event.model import PLATFORM_TENANT
from auditflow.settings import Settings


class Quota(Settings):
    """How many events of a tenant are accepted."""

    rate_limit_per_sec: Annotated[
        float,
        Field(
            alias="rateLimitPerSec",
            validation_alias=AliasChoices("rateLimitPerSec", "rate-limit-per-sec"),
            allow_inf_nan=False,
        ),
    ] = 0.0
    """Events per second in the long run; 0 and less mean that there is no limit."""
    burst: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Events that are accepted at once after a rest; without it, those of two seconds."""


class Provisioned(Protocol):
    """What admission has to know of a tenant."""

    @property
    def enabled(self) -> bool:
        """Whether its events are accepted."""

    @property
    def quota(self) -> Quota:
        """How many of them."""


class Admission:
    """Says which events of a request are refused, by tenant. Use from one event loop."""

    def __init__(
        self, tenants: Mapping[str, Provisioned] | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Admit these tenants and `_platform`; with None, everybody. The clock gives seconds."""
        self._clock = clock
        self._tenants: Mapping[str, Provisioned] | None = None
        self._buckets: dict[str, _Bucket] = {}
        self.over: Mapping[str, TenantRefused] = {}
        """Tenants that are over their share of the journal, and what they are told."""
        self.provision(tenants)

    def provision(self, tenants: Mapping[str, Provisioned] | None) -> None:
        """Go on with these tenants. Who keeps his quota keeps what he has used of it."""
        now, old = self._clock(), self._buckets
        self._tenants = tenants
        self._buckets = {}
        for name, tenant in (tenants or {}).items():
            if tenant.enabled and tenant.quota.rate_limit_per_sec > 0:
                kept = old.get(name)
                self._buckets[name] = (
                    kept if kept is not None and kept.quota == tenant.quota else _Bucket(tenant.quota, now)
                )

    def admit_each(self, tenants: Sequence[str], requests: Sequence[int]) -> dict[int, TenantRefused]:
        """Take in several requests: for each event its tenant, and the number of its request, in ascending order.

        Gives the places of the events that are refused, and why.
        """
        refused: dict[int, TenantRefused] = {}
        if self._tenants is None:
            return refused
        start = 0
        for _, group in groupby(requests):
            end = start + sum(1 for _ in group)
            verdicts = self.admit(tenants[start:end])
            refused |= {at: verdicts[tenants[at]] for at in range(start, end) if tenants[at] in verdicts}
            start = end
        return refused

    def admit(self, tenants: Sequence[str]) -> Mapping[str, TenantRefused]:
        """Take in a request, whose events belong to these tenants, one name for each event.

        Gives the tenants whose events are refused, all of that request, and why. The others' count against
        their quotas from now on.
        """
        if self._tenants is None:
            return {}
        now = self._clock()
        refused: dict[str, TenantRefused] = {}
        for name, events in Counter(tenants).items():
            if over := self.over.get(name):
                refused[name] = over
            elif bucket := self._buckets.get(name):
                if wait := bucket.take(events, now):
                    rate = bucket.quota.rate_limit_per_sec
                    refused[name] = TenantRateLimited(tenant=name, rate=rate, retry_after=ceil(wait))
            elif tenant := self._tenants.get(name):
                if not tenant.enabled:
                    refused[name] = TenantDisabled(tenant=name)
            elif name != PLATFORM_TENANT:
                refused[name] = TenantNotProvisioned(tenant=name)
        return refused


class _Bucket:
    """Tokens, one for each event, that come in at the quota's rate until the bucket is full."""

    def __init__(self, quota: Quota, now: float) -> None:
        self.quota = quota
        self._rate = quota.rate_limit_per_sec
        self._size = quota.burst or 2 * self._rate
        self._tokens = self._size
        self._at = now

    def take(self, events: int, now: float) -> float:
        """Take a token for each event, or none at all; give the seconds after which there are enough.

        What is larger than the bucket passes when it is full, and leaves a debt that has to be filled first.
        """
        tokens = self._tokens + (now - self._at) * self._rate
        self._at = now
        if tokens >= self._size:
            tokens = self._size
        elif (missing := min(events, self._size) - tokens) > _ROUNDING * self._size:
            self._tokens = tokens
            return missing / self._rate
        self._tokens = tokens - events
        return 0.0


_ROUNDING = 1e-9
"""Share of a bucket by which sums of floating-point numbers may miss it: who has waited as told passes."""
