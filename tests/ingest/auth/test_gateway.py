"""A gateway's headers count when they come from the gateway, and never otherwise."""

from __future__ import annotations

import pytest

from auditflow.ingest.auth.gateway import Gateway
from auditflow.ingest.auth.settings import GatewayConfig

SECRET = "0123456789abcdef0123456789abcdef"
HEADERS = {b"x-auth-tenant": b"acme", b"x-auth-scopes": b"audit-event:write audit-event:read"}


def gateway(**settings: object) -> Gateway:
    return Gateway(GatewayConfig.model_validate(settings))


@pytest.mark.parametrize("peer", ["10.1.2.3", "::ffff:10.1.2.3", "fd00::7"])
def test_it_is_known_by_its_address(peer: str):
    found = gateway(addresses=["10.0.0.0/8", "fd00::/8"]).look_up(
        HEADERS | {b"x-auth-subject": b"amara"}, peer
    )
    assert (found.name, found.tenant) == ("amara", "acme")
    assert found.scopes == {"audit-event:write", "audit-event:read"}


@pytest.mark.parametrize("peer", ["11.1.2.3", "::1", "", "10.1.2.3.4", "fe80::1%eth0"])
def test_the_same_headers_from_elsewhere_are_ignored(peer: str):
    assert gateway(addresses=["10.0.0.0/8", "fd00::/8"]).look_up(HEADERS, peer) is None


def test_it_is_known_by_its_secret_from_anywhere():
    known = gateway(secret=SECRET)
    assert known.look_up(HEADERS | {b"x-auth-secret": SECRET.encode()}, "11.1.2.3").tenant == "acme"
    for wrong in (b"", b"x", SECRET[:-1].encode(), SECRET.encode() + b"0", b"\xff" * 32):
        assert known.look_up(HEADERS | {b"x-auth-secret": wrong}, "11.1.2.3") is None
    assert known.look_up(HEADERS, "11.1.2.3") is None


def test_without_a_secret_in_the_configuration_none_is_right():
    known = gateway(addresses=["10.0.0.0/8"])
    assert known.look_up(HEADERS | {b"x-auth-secret": b""}, "11.1.2.3") is None
    assert known.look_up(HEADERS | {b"x-auth-secret": b"wrong"}, "10.0.0.1") is not None


@pytest.mark.parametrize(
    ("header", "tenant"),
    [(b"-", "_platform"), (b"", "_platform"), (b" acme ", "acme"), (b"_platform", "_platform")],
)
def test_an_empty_tenant_is_the_platforms(header: bytes, tenant: str):
    headers = {b"x-auth-scopes": b"a", b"x-auth-tenant": header}
    assert gateway(addresses=["10.0.0.1"]).look_up(headers, "10.0.0.1").tenant == tenant


def test_without_a_tenant_the_caller_is_nobody_unless_that_was_configured():
    headers = {b"x-auth-scopes": b"a", b"x-auth-subject": b"amara"}
    assert gateway(addresses=["10.0.0.1"]).look_up(headers, "10.0.0.1") is None
    found = gateway(addresses=["10.0.0.1"], **{"tenant-optional": True}).look_up(headers, "10.0.0.1")
    assert (found.name, found.tenant) == ("amara", None)


@pytest.mark.parametrize("tenant", [b"../x", b"a b", b"a" * 65, b"\xff", b"_other"])
def test_what_is_no_tenant_is_refused(tenant: bytes):
    assert gateway(addresses=["10.0.0.1"]).look_up({b"x-auth-tenant": tenant}, "10.0.0.1") is None


def test_a_gateway_that_says_nothing_says_nothing():
    assert gateway(addresses=["10.0.0.1"]).look_up({b"authorization": b"Bearer x"}, "10.0.0.1") is None


def test_without_scopes_the_caller_may_do_nothing():
    found = gateway(addresses=["10.0.0.1"]).look_up({b"x-auth-tenant": b"acme"}, "10.0.0.1")
    assert found.scopes == frozenset()
