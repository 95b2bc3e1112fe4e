from collections.abc import Callable
from typing import Any

import httpx2
import pytest


@pytest.fixture
def client() -> Callable[[Any], httpx2.AsyncClient]:
    """Give a client of an ASGI app; what the app raises shows as its answer, as over a socket."""

    def client(app: Any) -> httpx2.AsyncClient:
        transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
        return httpx2.AsyncClient(transport=transport, base_url="http://auditflow")

    return client
