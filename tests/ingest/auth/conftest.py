from __future__ import annotations

from collections.abc import Iterator

import pytest

from auditflow.ingest.auth import watched
from auditflow.testing.identity_provider import IdentityProvider


@pytest.fixture
def provider() -> Iterator[IdentityProvider]:
    """Give an identity provider on real HTTP, with one RSA key."""
    with IdentityProvider() as provider:
        yield provider


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every look at a file see it as it is."""
    monkeypatch.setattr(watched, "LOOK_SECONDS", 0.0)
