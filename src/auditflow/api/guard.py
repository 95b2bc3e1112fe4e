"""In front of everything that a server serves: who calls, and whether it may.

Handlers find the caller in ``request.state.principal`` (``scope["state"]["principal"]`` in plain ASGI).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from fastapi import Request

from auditflow.api import problems
from auditflow.errors import Forbidden, ForeignHost, ForeignPage, TokensUncheckable, Unauthorized
from auditflow.ingest.answer import RETRY_AFTER_SECONDS
from auditflow.ingest.auth import ANYONE, Authenticator
from auditflow.ingest.auth.principal import Principal
from auditflow.ingest.auth.settings import ScopesConfig
from auditflow.ingest.auth.web_pages import WebPages
from auditflow.ingest.publish import PATHS

App = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]
Rights = Callable[[ScopesConfig, str, str], str]
"""Gives the scope that a call needs, by the names of the scopes, its method and its path."""

OPEN: Final = frozenset(
    f"{front}{path}"
    for front, paths in (
        ("", ("/live", "/ready", "/health", "/info")),
        ("/actuator", ("/health", "/health/liveness", "/health/readiness", "/info")),
    )
    for path in paths
)
"""Whoever watches over the process has no key."""


def operating_rights(scopes: ScopesConfig, method: str, path: str) -> str:
    """Say what a call on the port for publishing needs. What is not known to only read needs the right to operate."""
    if path in PATHS:
        return scopes.publish
    if method in {"GET", "HEAD"} and not path.startswith("/actuator"):
        return scopes.read
    return scopes.operate


def sink_service_rights(scopes: ScopesConfig, method: str, path: str) -> str:
    """Say what a call on the port of the sink service needs: it does whatever its caller says."""
    del method, path
    return scopes.operate


class Guard:
    """ASGI app that lets through who may; without an authenticator, anyone but `pages` that are foreign."""

    def __init__(
        self, app: App, authenticator: Authenticator | None, rights: Rights, pages: WebPages | None = None
    ) -> None:
        self._app = app
        self._authenticator = authenticator
        self._rights = rights
        self._pages = pages

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Serve one request. A slash at the end of a path means nothing, and HEAD is GET without the body."""
        if scope["type"] == "http":
            scope, send = _plain(scope, send)
        try:
            principal = await self._admit(scope) if scope["type"] == "http" else ANYONE
        except (Unauthorized, Forbidden, TokensUncheckable, ForeignHost, ForeignPage) as error:
            await _refuse(scope, receive, send, error)
            return
        scope.setdefault("state", {})["principal"] = principal
        await self._app(scope, receive, send)

    async def _admit(self, scope: MutableMapping[str, Any]) -> Principal:
        if self._pages is not None:
            self._pages.check(scope["method"], scope["headers"])
        if self._authenticator is None or scope["path"] in OPEN:
            return ANYONE
        peer = scope["client"][0] if scope.get("client") else ""
        headers = self._authenticator.single(scope["headers"], peer)
        needed = self._rights(self._authenticator.scopes, scope["method"], scope["path"])
        return await self._authenticator.admit(headers, peer, needed)


def _plain(scope: MutableMapping[str, Any], send: Any) -> tuple[MutableMapping[str, Any], Any]:
    """Give the request as the app behind knows it, and what its answer goes through."""
    path = scope["path"]
    if len(path) > 1 and path.endswith("/"):
        scope = {**scope, "path": path.rstrip("/") or "/"}
    if scope["method"] != "HEAD" or scope["path"] in PATHS:
        return scope, send

    async def without_body(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return {**scope, "method": "GET"}, without_body


async def _refuse(
    scope: MutableMapping[str, Any],
    receive: Any,
    send: Any,
    error: Unauthorized | Forbidden | TokensUncheckable | ForeignHost | ForeignPage,
) -> None:
    headers = {}
    if isinstance(error, Unauthorized | Forbidden):
        headers = {"WWW-Authenticate": error.challenge}
    elif isinstance(error, TokensUncheckable):
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    # what publishers are answered has four members, by contract
    more = {} if scope["path"] in PATHS else {"hint": error.hint}
    answer = problems.problem(Request(scope), error.status, error.code, str(error), headers, **more)
    await answer(scope, receive, send)
