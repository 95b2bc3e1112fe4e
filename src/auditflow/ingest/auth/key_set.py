"""The public keys of an identity provider (JWKS, RFC 7517): fetched, kept, and fetched again when they are old or lack one.

While the provider answers, a key that it has withdrawn is refused after `REFRESH_SECONDS` and the time of a
fetch. While it does not, its last keys stay good, for `KEPT_SECONDS` at most.
"""
# Tested in tests/ingest/auth/test_tokens.py.

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from auditflow.errors import TokensUncheckable
from auditflow.ingest.auth.settings import JwtConfig
from auditflow.plugin_call import text_of, without_user_info

REFRESH_SECONDS: Final = 300.0
KEPT_SECONDS: Final = 24 * 3600.0
PAUSE_SECONDS: Final = 5.0
"""Between two fetches, however many tokens name keys that nobody knows."""
FILE_SECONDS: Final = 1.0
"""How often a file of keys is read again."""
FETCH_SECONDS: Final = 5.0
LARGEST_SET: Final = 2**20

_log = logging.getLogger(__name__)


class PublicKey(NamedTuple):
    """A key of the provider, as `cryptography` has it."""

    algorithm: str | None
    """The only one that it is for; None for any that fits its kind."""
    key: Any


class KeySet:
    """The keys by id (`kid`). `version` counts how often they have changed."""

    def __init__(self, config: JwtConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock = clock
        self._period = REFRESH_SECONDS if config.jwks_url else FILE_SECONDS
        self._pause = min(PAUSE_SECONDS, self._period)
        self._text: list[dict[str, Any]] | None = None
        self._keys: dict[str, PublicKey] = {}
        self._fetched = self._tried = -KEPT_SECONDS
        self._busy = asyncio.Lock()
        self._renewing: asyncio.Task[None] | None = None
        self.version = 0

    def usable(self) -> bool:
        """Tell whether the keys may be relied upon; have them renewed beside, when it is time."""
        age = self._clock() - self._fetched
        if age >= self._period and (self._renewing is None or self._renewing.done()):
            self._renewing = asyncio.get_running_loop().create_task(self._renew())
        return age < KEPT_SECONDS

    async def find(self, number: str | None) -> PublicKey | None:
        """Give a key; the only one there is where the token names none. Raises TokensUncheckable."""
        if not self.usable():
            await self._renew()
        found = self._get(number)
        if found is None:
            await self._renew()
            found = self._get(number)
        if not self.usable():
            raise TokensUncheckable
        return found

    def _get(self, number: str | None) -> PublicKey | None:
        if number is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(number)

    async def _renew(self) -> None:
        """Fetch the keys, unless that was tried just now. What fails is logged, and the old ones stay."""
        async with self._busy:
            if self._clock() - self._tried < self._pause:
                return
            self._tried = self._clock()
            try:
                text = _entries(await asyncio.to_thread(_read, self._config))
                keys = self._keys if text == self._text else _usable(text)
            except Exception as error:  # noqa: BLE001 - whatever a provider does, those that are known stay
                where = without_user_info(str(self._config.jwks_url or self._config.jwks_file))
                reason = text_of(error) or type(error).__name__
                _log.error("no keys from the identity provider at %s: %s", where, reason)
                return
            self._fetched = self._clock()
            if keys is not self._keys:
                self._text, self._keys = text, keys
                self.version += 1


def _read(config: JwtConfig) -> bytes:
    if config.jwks_file:
        return config.jwks_file.read_bytes()
    import httpx2

    content, started = b"", time.monotonic()
    with httpx2.stream("GET", str(config.jwks_url), timeout=FETCH_SECONDS) as answer:
        answer.raise_for_status()  # a redirection too: the keys come from where the configuration says
        for part in answer.iter_bytes():
            content += part
            if len(content) > LARGEST_SET or time.monotonic() - started > 2 * FETCH_SECONDS:
                raise ValueError("the answer is too long, or comes too slowly")
    return content


def _entries(content: bytes) -> list[dict[str, Any]]:
    """Give the keys of a set that are for signatures. Raises ValueError."""
    document = json.loads(content)
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("not a JWKS: it has no list `keys`")  # noqa: TRY004 - it is the content that is wrong
    return [one for one in entries if isinstance(one, dict) and one.get("use", "sig") == "sig"]


def _usable(entries: list[dict[str, Any]]) -> dict[str, PublicKey]:
    """Leave out what cannot be used, symmetric keys among them: a provider may publish more than we understand."""
    from jwt import PyJWK, PyJWTError

    keys = {}
    for entry in entries:
        if entry.get("kty") in {"RSA", "EC", "OKP"}:
            try:
                keys[str(entry.get("kid", ""))] = PublicKey(entry.get("alg"), PyJWK(entry).key)
            except PyJWTError:
                continue
    if not keys:
        raise ValueError("none of the keys can be used")
    return keys
