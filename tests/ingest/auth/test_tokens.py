"""Tokens of a real identity provider on this machine: who is let in, who is not, and what the provider is asked."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from auditflow.errors import MissingExtra, TokensUncheckable
from auditflow.ingest.auth import Principal, key_set, tokens
from auditflow.ingest.auth.key_set import KEPT_SECONDS, PAUSE_SECONDS, REFRESH_SECONDS, KeySet
from auditflow.ingest.auth.settings import JwtConfig
from auditflow.ingest.auth.tokens import Refusal, Refused, Tokens
from auditflow.testing.identity_provider import IdentityProvider

DAY = 86_400
LONG = b"the keys, and a megabyte of blanks"


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1e6

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def tokens_of(provider: IdentityProvider, clock: Clock | None = None, **settings: Any) -> Tokens:
    given = {name.replace("_", "-"): value for name, value in settings.items()}
    config = JwtConfig.model_validate(provider.settings | given)
    return Tokens(config, KeySet(config, clock or time.monotonic))


async def refusal(checked: Tokens, token: str) -> Refusal:
    with pytest.raises(Refused) as refused:
        await checked.check(token)
    assert checked.known(token) is None
    return refused.value.reason


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - it comes true in the provider's thread
            await asyncio.sleep(0.01)


async def test_a_good_token_says_whose_it_is_and_is_known_from_then_on(provider: IdentityProvider):
    checked = tokens_of(provider)
    token = provider.token(tenant="acme", scope="audit-event:write audit-event:read")
    assert checked.known(token) is None
    expected = Principal("amara", "acme", frozenset({"audit-event:write", "audit-event:read"}))
    assert await checked.check(token) == expected
    assert checked.known(token) == expected
    assert provider.fetches == 1


async def test_elliptic_curves_are_as_good(provider: IdentityProvider):
    provider.add("curve", "ES256")
    assert (await tokens_of(provider).check(provider.token(tenant="acme"))).tenant == "acme"
    assert await refusal(tokens_of(provider, algorithms=["RS256"]), provider.token(tenant="acme")) == "token"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": "https://elsewhere.example"}, "claims"),
        ({"iss": None}, "claims"),
        ({"aud": "another-service"}, "claims"),
        ({"aud": None}, "claims"),
        ({"exp": None}, "claims"),
        ({"exp": lambda now: now - 31}, "expired"),
        ({"nbf": lambda now: now + DAY}, "expired"),
        ({"iat": lambda now: now + DAY}, "expired"),
        ({"exp": "soon"}, "token"),
        ({"exp": float("inf")}, "token"),
        ({"exp": 10**400}, "claims"),
        ({"tenant": None}, "claims"),
        ({"tenant": "../etc"}, "claims"),
        ({"tenant": ["acme"]}, "claims"),
        ({"tenant": ""}, "claims"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
async def test_a_token_with_other_claims_is_refused(provider: IdentityProvider, claims: dict, reason: str):
    now = int(time.time())
    claims = {name: value(now) if callable(value) else value for name, value in claims.items()}
    assert await refusal(tokens_of(provider), provider.token(**{"tenant": "acme"} | claims)) == reason


async def test_the_providers_clock_may_be_a_little_off(provider: IdentityProvider):
    now = int(time.time())
    for claims in ({"exp": now - 20}, {"nbf": now + 20}, {"iat": now + 20}):
        assert await tokens_of(provider).check(provider.token(tenant="acme", **claims))
        assert (
            await refusal(tokens_of(provider, leeway=5), provider.token(tenant="acme", **claims)) == "expired"
        )


async def test_a_token_that_is_known_is_not_known_any_more_when_it_has_expired(provider: IdentityProvider):
    config = JwtConfig.model_validate(provider.settings)
    wall = Clock()
    wall.now = time.time()
    checked = Tokens(config, clock=wall)
    token = provider.token(tenant="acme", exp=int(wall.now) + 60)
    await checked.check(token)
    wall.now += 60 + config.leeway - 1
    assert checked.known(token) is not None
    wall.now += 2
    assert checked.known(token) is None


def unsigned(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


async def test_an_unsigned_token_is_refused(provider: IdentityProvider):
    claims = jwt.decode(provider.token(tenant="acme"), options={"verify_signature": False})
    for name in ("none", "None", "NONE", "", None, 1, ["RS256"]):
        for number in ("first", None):
            header = {"alg": name, "typ": "JWT"} | ({"kid": number} if number else {})
            assert await refusal(tokens_of(provider), unsigned(header, claims)) == "token"


async def test_the_public_key_is_no_secret_to_sign_with(provider: IdentityProvider):
    public = provider.keys["first"].public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    claims = jwt.decode(provider.token(tenant="acme"), options={"verify_signature": False})
    import hashlib
    import hmac

    head = unsigned({"alg": "HS256", "kid": "first"}, claims).rpartition(".")[0]
    for secret in (pem, provider.jwks()):
        signature = hmac.digest(secret, head.encode(), hashlib.sha256)
        forged = f"{head}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
        assert await refusal(tokens_of(provider), forged) == "token"


async def test_a_symmetric_key_that_a_provider_publishes_is_not_used(provider: IdentityProvider):
    document = json.loads(provider.jwks())
    document["keys"].append(
        {"kty": "oct", "kid": "secret", "k": base64.urlsafe_b64encode(b"x" * 32).decode()}
    )
    provider.answer = 200, json.dumps(document).encode()
    forged = jwt.encode({"tenant": "acme"}, b"x" * 32, "HS256", {"kid": "secret"})
    assert await refusal(tokens_of(provider), forged) == "token"


async def test_a_key_for_encryption_signs_nothing(provider: IdentityProvider):
    document = json.loads(provider.jwks())
    document["keys"] = [document["keys"][0] | {"use": "enc"}]
    provider.answer = 200, json.dumps(document).encode()
    with pytest.raises(TokensUncheckable):
        await tokens_of(provider).check(provider.token(tenant="acme"))


async def test_a_key_is_used_for_its_own_algorithm_only(provider: IdentityProvider):
    document = json.loads(provider.jwks())
    document["keys"][0]["alg"] = "RS512"
    provider.answer = 200, json.dumps(document).encode()
    assert await refusal(tokens_of(provider), provider.token(tenant="acme")) == "token"


async def test_somebody_elses_key_under_a_known_name_is_refused(provider: IdentityProvider):
    with IdentityProvider() as other:
        forged = other.token(tenant="acme", iss=provider.url)
    assert await refusal(tokens_of(provider), forged) == "token"


@pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
async def test_a_key_that_is_too_short_is_refused(provider: IdentityProvider):
    provider.keys["first"] = rsa.generate_private_key(65537, 1024)
    token = provider.token(tenant="acme")
    assert await refusal(tokens_of(provider), token) == "token"


@pytest.mark.parametrize(
    "text",
    ["x", "a.b.c", "..", "." * 50, "e30.e30.", "é.é.é", "[" * 20_000, "A" * 40_000,
     base64.urlsafe_b64encode(b"[" * 9_000).decode().rstrip("=") + ".e30.x",
     base64.urlsafe_b64encode(b'{"alg":"RS256","kid":{"a":1}}').decode().rstrip("=") + ".e30.x"],
    ids=range(10),
)  # fmt: skip
async def test_what_is_no_token_is_refused(provider: IdentityProvider, text: str):
    assert await refusal(tokens_of(provider), text) == "token"


async def test_a_changed_token_is_refused(provider: IdentityProvider):
    checked = tokens_of(provider)
    head, _, signature = provider.token(tenant="acme").split(".")
    body = json.dumps({"iss": provider.url, "aud": "auditflow", "exp": 2**40, "tenant": "other"}).encode()
    forged = f"{head}.{base64.urlsafe_b64encode(body).decode().rstrip('=')}.{signature}"
    assert await refusal(checked, forged) == "token"


@pytest.mark.parametrize(
    ("settings", "claims", "scopes"),
    [
        ({}, {"scope": "a b"}, ["a", "b"]),
        ({}, {"scp": ["a", "b"]}, ["a", "b"]),
        ({}, {"scp": "a"}, ["a"]),
        ({}, {"scope": "", "scp": ["a"]}, []),
        ({}, {}, []),
        ({}, {"scope": 7}, []),
        ({"scopes_claim": "https://acme.example/roles"}, {"https://acme.example/roles": ["a", 1], "scope": "b"}, ["a"]),
    ],
    ids=str,
)  # fmt: skip
async def test_scopes_come_as_text_or_list(provider, settings, claims, scopes):
    principal = await tokens_of(provider, **settings).check(provider.token(tenant="acme", **claims))
    assert principal.scopes == set(scopes)


async def test_the_tenants_claim_can_have_another_name_and_be_left_out(provider: IdentityProvider):
    named = tokens_of(provider, tenant_claim="org", tenant_optional=True)
    assert (await named.check(provider.token(org="acme", tenant="other"))).tenant == "acme"
    assert (await named.check(provider.token(tenant="other"))).tenant is None
    assert await refusal(named, provider.token(org="a b")) == "claims"


async def test_a_rotated_key_is_fetched_when_it_is_met_and_the_old_ones_tokens_end(
    provider: IdentityProvider, clock: Clock
):
    checked = tokens_of(provider, clock)
    old = provider.token(tenant="acme")
    await checked.check(old)
    provider.rotate("second")
    new = provider.token(tenant="acme")
    clock.now += PAUSE_SECONDS
    assert await checked.check(new)
    assert checked.known(new) is not None
    assert checked.known(old) is None, "it is signed by a key that the provider has withdrawn"
    assert await refusal(checked, old) == "token"


async def test_a_withdrawn_key_is_refused_after_five_minutes_though_its_tokens_are_known(
    provider: IdentityProvider, clock: Clock
):
    checked = tokens_of(provider, clock)
    old = provider.token(tenant="acme")
    await checked.check(old)
    provider.rotate("second")
    clock.now += REFRESH_SECONDS - 1
    assert checked.known(old) is not None
    assert provider.fetches == 1
    clock.now += 1
    assert checked.known(old) is not None, "nobody waits for the provider"
    await until(lambda: checked.known(old) is None)
    assert provider.fetches == 2
    assert await refusal(checked, old) == "token"


@pytest.mark.parametrize("answer", [(500, b""), (200, b"<html>"), (200, b"[]"), (200, b'{"keys": []}'),
                                    (200, LONG), (302, b"")], ids=range(6))  # fmt: skip
async def test_while_the_provider_fails_its_last_keys_are_good_for_a_day(
    provider: IdentityProvider, clock: Clock, answer: tuple[int, bytes], caplog
):
    checked = tokens_of(provider, clock)
    token, other = provider.token(tenant="acme"), provider.token(tenant="other")
    await checked.check(token)
    provider.answer = (200, provider.jwks() + b" " * 2**20) if answer == (200, LONG) else answer
    clock.now += REFRESH_SECONDS
    assert checked.known(token) is not None
    await until(lambda: f"no keys from the identity provider at {provider.url}/jwks" in caplog.text)
    assert await checked.check(other), "its key is known"
    assert provider.fetches == 2
    clock.now += KEPT_SECONDS
    assert checked.known(token) is None
    with pytest.raises(TokensUncheckable):
        await checked.check(token)
    provider.answer = None
    clock.now += PAUSE_SECONDS
    assert await checked.check(token)


async def test_the_password_in_the_address_of_a_provider_is_not_logged(
    provider: IdentityProvider, clock: Clock, caplog
):
    provider.url = provider.url.replace("://", "://me:hunter2@")
    provider.answer = (500, b"")
    checked = tokens_of(provider, clock)
    with pytest.raises(TokensUncheckable):
        await checked.check(provider.token(tenant="acme"))
    assert "no keys from the identity provider at http://***@" in caplog.text
    assert "hunter2" not in caplog.text


async def test_a_provider_that_cannot_be_reached_is_no_fault_of_the_caller(clock: Clock):
    with IdentityProvider() as provider:
        checked = tokens_of(provider, clock)
        token = provider.token(tenant="acme")
    with pytest.raises(TokensUncheckable):
        await checked.check(token)


async def test_a_flood_of_unknown_keys_does_not_reach_the_provider(provider: IdentityProvider, clock: Clock):
    checked = tokens_of(provider, clock)
    good = provider.token(tenant="acme")
    await checked.check(good)
    clock.now += PAUSE_SECONDS
    flood = [provider.token(tenant="acme", headers={"kid": f"k{n}"}) for n in range(50)]
    outcomes = await asyncio.gather(*(checked.check(token) for token in flood), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {Refused}
    assert provider.fetches == 2
    assert checked.known(good) is not None
    assert len(checked._known) == 1, "what was refused takes no room"


async def test_a_token_need_not_name_a_key_where_there_is_one(provider: IdentityProvider):
    token = provider.token(tenant="acme")
    claims = jwt.decode(token, options={"verify_signature": False})
    nameless = jwt.encode(claims, provider.keys["first"], "RS256")
    assert await tokens_of(provider).check(nameless)
    provider.add("second")
    assert await refusal(tokens_of(provider), nameless) == "token"


async def test_known_tokens_take_bounded_room(provider: IdentityProvider, monkeypatch):
    monkeypatch.setattr(tokens, "KEPT_TOKENS", 3)
    checked = tokens_of(provider)
    issued = [provider.token(tenant=f"t{n}") for n in range(4)]
    for token in issued[:3]:
        await checked.check(token)
    checked.known(issued[0])
    await checked.check(issued[3])
    assert [checked.known(token) is not None for token in issued] == [True, False, True, True]


async def test_keys_can_come_from_a_file_that_is_replaced(provider: IdentityProvider, tmp_path, monkeypatch):
    monkeypatch.setattr(key_set, "FILE_SECONDS", 0.0)
    file = tmp_path / "jwks.json"
    file.write_bytes(provider.jwks())
    settings = {k: v for k, v in provider.settings.items() if k != "jwks-url"} | {"jwks-file": str(file)}
    checked = Tokens(JwtConfig.model_validate(settings))
    old = provider.token(tenant="acme")
    assert await checked.check(old)
    provider.rotate("second")
    file.write_bytes(provider.jwks())
    assert await checked.check(provider.token(tenant="acme"))
    assert await refusal(checked, old) == "token"
    assert provider.fetches == 0


def test_without_the_package_the_extra_is_named(provider: IdentityProvider, monkeypatch):
    monkeypatch.setitem(sys.modules, "jwt", None)
    with pytest.raises(MissingExtra) as missing:
        tokens_of(provider)
    assert missing.value.hint == "Install it with: pip install 'auditflow-server[jwt]'"
