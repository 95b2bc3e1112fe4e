"""Every way in, one after the other; refusals are counted, told sparingly, and never say why to the caller."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from auditflow.errors import Forbidden, Unauthorized
from auditflow.ingest.auth import AuthConfig, Authenticator, authenticator, authenticator_of
from auditflow.ingest.auth.keys import KeyFile
from auditflow.telemetry import metrics
from auditflow.testing.identity_provider import IdentityProvider

SECRET = "0123456789abcdef0123456789abcdef"
HERE = "127.0.0.1"


def bearer(text: str) -> dict[bytes, bytes]:
    return {b"authorization": f"Bearer {text}".encode()}


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys.json")


@pytest.fixture
def everything(provider: IdentityProvider, file: KeyFile) -> Authenticator:
    """Let in by all three ways."""
    given = {"api-keys": {}, "jwt": provider.settings, "gateway": {"secret": SECRET}}
    return Authenticator(AuthConfig.model_validate(given), file.path)


def refused(reason: str) -> float:
    return metrics.REGISTRY.get_sample_value("auditflow_refused_calls_total", {"reason": reason})


async def test_a_key_a_token_and_a_gateway_open_the_same_door(everything, provider, file):
    _, key = file.create("web", "acme", ["audit-event:write"])
    token = provider.token(tenant="acme", scope="audit-event:write")
    gateway = {
        b"x-auth-secret": SECRET.encode(),
        b"x-auth-tenant": b"acme",
        b"x-auth-scopes": b"audit-event:write",
    }
    ways = (
        bearer(key),
        {b"x-api-key": key.encode()},
        {b"authorization": b"bearer  " + key.encode()},
        bearer(token),
        gateway,
    )
    for headers in ways:
        principal = await everything.admit(headers, HERE, "audit-event:write")
        assert (principal.tenant, principal.scopes) == ("acme", {"audit-event:write"})
        assert everything.known(headers, HERE) == principal, "the second time takes no waiting"


async def test_a_wrong_an_unknown_and_an_expired_credential_are_told_alike(everything, provider, file):
    _, key = file.create("web", None, ["audit-event:write"])
    _, expired = file.create("old", None, ["audit-event:write"], lifetime=-1)
    credentials = [key[:-1] + "!", "af_aaaaaaaaaaaaaaaa_" + key[-43:], expired, "nonsense", "a.b.c",
                   provider.token(tenant="acme", exp=1), provider.token(tenant="acme", iss="x")]  # fmt: skip
    told = set()
    for credential in credentials:
        with pytest.raises(Unauthorized) as error:
            await everything.authenticate(bearer(credential), HERE)
        told.add((str(error.value), error.value.hint, error.value.challenge))
        assert credential not in f"{error.value}{error.value.hint}{error.value.facts}"
    ((message, _, challenge),) = told
    assert message == "Authentication is required: the credential is not accepted."
    assert challenge == 'Bearer realm="auditflow", error="invalid_token"'


@pytest.mark.parametrize(
    "headers", [{}, {b"authorization": b""}, {b"authorization": b"Basic YTpi"}, {b"authorization": b"Bearer"},
                {b"x-api-key": b" "}], ids=str,
)  # fmt: skip
async def test_who_shows_nothing_is_asked_for_something(everything, headers):
    with pytest.raises(Unauthorized, match="no credential was sent") as error:
        await everything.authenticate(headers, HERE)
    assert error.value.challenge == 'Bearer realm="auditflow"'


async def test_the_headers_of_a_gateway_from_anybody_else_are_no_credential_and_spoil_none(everything, file):
    _, key = file.create("web", "acme", ["audit-event:write"])
    forged = {
        b"x-auth-tenant": b"victim",
        b"x-auth-scopes": b"audit-event:operate",
        b"x-auth-secret": b"guess",
    }
    before = refused("gateway")
    with pytest.raises(Unauthorized):
        await everything.authenticate(forged, HERE)
    assert refused("gateway") == before + 1
    assert (await everything.authenticate(forged | bearer(key), HERE)).tenant == "acme"


async def test_a_good_credential_without_the_scope_is_forbidden(everything, file):
    _, key = file.create("web", None, ["audit-event:write"])
    before = refused("scope")
    with pytest.raises(Forbidden, match="audit-event:read") as error:
        await everything.admit(bearer(key), HERE, "audit-event:read")
    assert error.value.challenge.endswith('error="insufficient_scope", scope="audit-event:read"')
    assert refused("scope") == before + 1


async def test_what_is_not_configured_lets_nobody_in(provider: IdentityProvider, file: KeyFile):
    _, key = file.create("web", None, ["audit-event:write"])
    token = provider.token(tenant="acme")
    only_keys = Authenticator(AuthConfig.model_validate({"api-keys": {}}), file.path)
    only_tokens = Authenticator(AuthConfig.model_validate({"jwt": provider.settings}), file.path)
    for wrong, credential in ((only_keys, token), (only_tokens, key)):
        with pytest.raises(Unauthorized):
            await wrong.authenticate(bearer(credential), HERE)
    assert await only_keys.authenticate(bearer(key), HERE)
    assert await only_tokens.authenticate(bearer(token), HERE)


async def test_refusals_are_counted_each_and_told_once_a_minute_for_the_same_peer(
    everything, monkeypatch, caplog
):
    told: list[tuple[str, str]] = []
    everything.on_refused = lambda reason, peer: told.append((reason, peer))
    before = refused("missing")

    async def call(peer: str) -> None:
        with pytest.raises(Unauthorized):
            await everything.authenticate({}, peer)

    for peer in ("10.0.0.1", "10.0.0.1", "10.0.0.2"):
        await call(peer)
    assert told == [("missing", "10.0.0.1"), ("missing", "10.0.0.2")]
    assert refused("missing") == before + 3
    assert caplog.text.count("a call from 10.0.0.1 was refused: missing") == 1
    now = time.monotonic() + 60
    monkeypatch.setattr(authenticator.time, "monotonic", lambda: now)
    await call("10.0.0.1")
    assert len(told) == 3
    monkeypatch.setattr(authenticator, "TOLD", 5)
    for number in range(20):
        await call(f"10.0.1.{number}")
    assert len(told) <= 8, "a flood from many peers fills no log"
    assert refused("missing") == before + 24


@pytest.mark.alone
async def test_what_is_known_costs_microseconds(everything, provider, file):
    _, key = file.create("web", "acme", ["audit-event:write"])
    token = provider.token(tenant="acme", scope="audit-event:write")
    for headers in (bearer(key), bearer(token)):
        await everything.authenticate(headers, HERE)
        best = 1.0
        for _ in range(20):
            started = time.perf_counter()
            for _ in range(100):
                everything.known(headers, HERE)
            best = min(best, (time.perf_counter() - started) / 100)
        assert best < 50e-6, f"{best * 1e6:.1f} µs"


def test_without_auth_there_is_nobody_to_ask(tmp_path: Path):
    anyone = AuthConfig.model_validate({"insecure-allow-anyone": True})
    assert authenticator_of(None, tmp_path) is None
    assert authenticator_of(anyone, tmp_path) is None
    assert authenticator_of(AuthConfig.model_validate({"api-keys": {}}), tmp_path) is not None
