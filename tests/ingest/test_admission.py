from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditflow.errors import TenantDisabled, TenantNotProvisioned, TenantRateLimited
from auditflow.event.model import PLATFORM_TENANT
from auditflow.ingest.admission import Admission, Quota


@dataclass
class Tenant:
    quota: Quota = field(default_factory=Quota)
    enabled: bool = True


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def quota(rate: float, burst: float | None = None) -> Quota:
    return Quota.model_validate({"rateLimitPerSec": rate, "burst": burst})


def codes(refused: Mapping[str, Any]) -> dict[str, tuple[int, str]]:
    return {tenant: (error.status, error.code) for tenant, error in refused.items()}


def test_without_tenants_everybody_is_admitted():
    assert Admission(None).admit(["anybody"] * 1000) == {}


def test_only_tenants_that_are_known_and_enabled_are_admitted():
    admission = Admission({"acme": Tenant(), "old": Tenant(enabled=False)})
    assert admission.admit(["acme"] * 10) == {}
    assert codes(admission.admit(["acme", "old", "nobody", "old"])) == {
        "old": (403, "TENANT_DISABLED"),
        "nobody": (403, "TENANT_NOT_PROVISIONED"),
    }


def test_events_without_a_tenant_are_admitted_whatever_tenants_there_are():
    assert Admission({}).admit([PLATFORM_TENANT]) == {}


def test_a_tenant_without_a_quota_has_no_limit():
    admission = Admission({"acme": Tenant(), "zero": Tenant(quota(0, 5)), "less": Tenant(quota(-1))})
    for _ in range(100):
        assert admission.admit(["acme", "zero", "less"] * 1000) == {}


def test_a_tenant_over_its_quota_is_told_when_to_come_back_and_then_passes(clock: Clock):
    admission = Admission({"acme": Tenant(quota(10, 50))}, clock)
    assert admission.admit(["acme"] * 50) == {}
    error = admission.admit(["acme"] * 25)["acme"]
    assert isinstance(error, TenantRateLimited)
    assert (error.status, error.retry_after) == (429, 3)
    assert str(error) == "Tenant 'acme' is over its quota of 10 events per second: try again in 3 s."
    clock.now += 2.4
    assert admission.admit(["acme"] * 25)
    clock.now += 0.1
    assert admission.admit(["acme"] * 25) == {}


def test_a_request_that_is_refused_uses_nothing_of_the_quota(clock: Clock):
    admission = Admission({"acme": Tenant(quota(10, 20))}, clock)
    admission.admit(["acme"] * 15)
    for _ in range(100):
        assert admission.admit(["acme"] * 10)
    assert admission.admit(["acme"] * 5) == {}


def test_a_request_larger_than_the_burst_passes_after_a_rest_and_is_paid_for_afterwards(clock: Clock):
    admission = Admission({"acme": Tenant(quota(10, 20))}, clock)
    assert admission.admit(["acme"] * 100) == {}
    assert admission.admit(["acme"])["acme"].facts["retry_after"] == 9  # 80 owed, and one
    assert admission.admit(["acme"] * 100)["acme"].facts["retry_after"] == 10
    clock.now += 10
    assert admission.admit(["acme"] * 100) == {}


def test_what_is_not_used_is_saved_up_to_the_burst_only(clock: Clock):
    admission = Admission({"acme": Tenant(quota(10, 20))}, clock)
    clock.now += 3600
    assert admission.admit(["acme"] * 20) == {}
    assert admission.admit(["acme"])


def test_without_a_burst_two_seconds_are_saved_up(clock: Clock):
    admission = Admission({"acme": Tenant(quota(10))}, clock)
    assert admission.admit(["acme"] * 20) == {}
    assert admission.admit(["acme"])


def test_one_tenant_over_its_quota_takes_nothing_from_another(clock: Clock):
    admission = Admission({"loud": Tenant(quota(1, 1)), "quiet": Tenant(quota(1, 1))}, clock)
    admission.admit(["loud"])
    assert set(admission.admit(["loud", "quiet"])) == {"loud"}


def test_a_change_of_tenants_counts_at_once_and_keeps_what_was_used(clock: Clock):
    admission = Admission({"acme": Tenant(quota(10, 10)), "gone": Tenant()}, clock)
    admission.admit(["acme"] * 10)
    admission.provision({"acme": Tenant(quota(10, 10)), "new": Tenant()})
    assert codes(admission.admit(["acme", "gone", "new"])) == {
        "acme": (429, "TENANT_RATE_LIMITED"),
        "gone": (403, "TENANT_NOT_PROVISIONED"),
    }
    admission.provision({"acme": Tenant(quota(20, 20))})
    assert admission.admit(["acme"] * 20) == {}


@given(
    rate=st.floats(0.01, 1e6), burst=st.floats(0.5, 1e6), sizes=st.lists(st.integers(1, 20_000), max_size=20)
)
def test_who_waits_as_told_always_passes(rate: float, burst: float, sizes: list[int]):
    clock = Clock()
    admission = Admission({"acme": Tenant(quota(rate, burst))}, clock)
    for size in sizes:
        refused = admission.admit(["acme"] * size)
        if refused:
            clock.now += refused["acme"].facts["retry_after"]  # type: ignore[operator]
            assert admission.admit(["acme"] * size) == {}


@given(sizes=st.lists(st.integers(1, 50), min_size=1), pauses=st.lists(st.floats(0, 3)))
def test_no_more_is_admitted_than_rate_and_burst_allow(sizes: list[int], pauses: list[float]):
    clock = Clock()
    admission = Admission({"acme": Tenant(quota(10, 50))}, clock)
    admitted = 0
    for size, pause in zip(sizes, pauses, strict=False):
        clock.now += pause
        admitted += size if not admission.admit(["acme"] * size) else 0
        assert admitted <= 50 + 10 * (clock.now - Clock.now) + 1e-6


def test_both_spellings_of_the_quota_are_read():
    assert Quota.model_validate({"rate-limit-per-sec": "2.5"}) == quota(2.5)


def test_the_errors_say_what_is_to_be_done():
    for error in (TenantNotProvisioned(tenant="a"), TenantDisabled(tenant="a")):
        assert "'a'" in str(error)
        assert error.hint
