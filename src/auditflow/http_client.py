"""The HTTP client of sinks: it owes nothing to the other side.

One deadline covers a whole call, waiting for a connection included. What counts is the status line and the head; of
a body no more is read than keeps the connection of use. Cookies are not kept, redirects not followed.
"""
# Tested in tests/sinks/test_http.py.

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from auditflow import __version__

if TYPE_CHECKING:
    import httpx2

BODY_BYTES: Final = 4096
"""Of a body that are read so that its connection can be used again."""
BODY_SECONDS: Final = 2.0
"""How long the rest of an answer is waited for whose status is known."""
CONNECT_SECONDS: Final = 10.0
"""How long one address may take to be connected to."""

Addresses = Callable[[str], Awaitable[Sequence[str]]]
"""Gives the addresses that a host may be connected at. Raises OSError, UnicodeError, or what forbids it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """Whatever their case; of repeated ones all, joined by commas."""


class CallFailed(Exception):
    """A call without an answer; the cause is what was met."""

    def __init__(self, cause: BaseException, *, sent: bool, proxy: str = "") -> None:
        super().__init__(f"{type(cause).__name__}: {cause}")
        self.__cause__ = cause
        self.sent = sent
        """Whether the other side may have got the request."""
        self.proxy = proxy
        """The proxy, without its credentials, that the call went through; empty without one."""


class HttpClient:
    """Connections to one or several servers, used from one event loop.

    `timeout` is seconds for a whole call, `connections` how many there are at once. `verify` as in `httpx2`. With
    `addresses`, a host is connected to at those that it gives, one after the other, and nowhere else.
    """

    def __init__(
        self,
        timeout: float,
        *,
        connections: int = 4,
        verify: ssl.SSLContext | bool = True,
        addresses: Addresses | None = None,
    ) -> None:
        self._timeout = timeout
        self._connections = connections
        self._verify = verify
        self._addresses = addresses
        self._transports: dict[str, httpx2.AsyncHTTPTransport] = {}
        self._proxies: dict[str, str] = {}
        """The proxy of each URL asked so far: to look at the environment costs as much as to sign an event."""

    async def request(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, content: bytes = b""
    ) -> Answer:
        """Make one call. Raises CallFailed, whatever it is."""
        import httpx2

        proxy, call = self._proxy_of(url), _Call(asyncio.get_running_loop().time() + self._timeout)
        try:
            request = httpx2.Request(
                method, url, headers=_OWN | dict(headers or {}), content=content, extensions=call.extensions(self._timeout)
            )  # fmt: skip
            async with asyncio.timeout_at(call.deadline):
                response = await self._send(request, proxy)
        except Exception as error:
            raise CallFailed(
                error, sent=call.sent and not _before_sending(error), proxy=_plain(proxy)
            ) from error
        await _finish(response, call.deadline)
        return Answer(response.status_code, response.headers)

    async def close(self) -> None:
        """Close the connections."""
        for transport in self._transports.values():
            with suppress(Exception):
                await transport.aclose()
        self._transports.clear()

    async def _send(self, request: httpx2.Request, proxy: str) -> httpx2.Response:
        import httpx2

        transport = self._transport(proxy)
        host = request.url.host
        places = await self._places(host, proxy)
        for place in places[:-1]:
            try:
                return await transport.handle_async_request(_directed(request, host, place))
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                continue
        return await transport.handle_async_request(_directed(request, host, places[-1]))

    async def _places(self, host: str, proxy: str) -> Sequence[str]:
        """Give where to connect for a host: the host itself, unless its addresses are prescribed."""
        if self._addresses is None:
            return [host]
        try:
            return await self._addresses(host)
        except (OSError, UnicodeError):
            if proxy:
                return [host]  # a name that only the proxy knows
            raise

    def _proxy_of(self, url: str) -> str:
        if url not in self._proxies:
            self._proxies = {url: _proxy_of(url)}  # a sink has one URL
        return self._proxies[url]

    def _transport(self, proxy: str) -> httpx2.AsyncHTTPTransport:
        import httpx2

        if proxy not in self._transports:
            self._transports[proxy] = httpx2.AsyncHTTPTransport(
                verify=self._verify,
                limits=httpx2.Limits(
                    max_connections=self._connections, max_keepalive_connections=self._connections
                ),
                proxy=httpx2.Proxy(proxy) if proxy else None,
            )
        return self._transports[proxy]


_OWN: Final = {"User-Agent": f"auditflow/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}


class _Call:
    """How far one call has come."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.sent = False

    def extensions(self, timeout: float) -> dict[str, Any]:
        seconds = dict.fromkeys(("read", "write", "pool"), timeout)
        return {"timeout": seconds | {"connect": min(timeout, CONNECT_SECONDS)}, "trace": self._trace}

    async def _trace(self, event: str, _: object) -> None:
        self.sent = self.sent or event.endswith("send_request_headers.started")


def _directed(request: httpx2.Request, host: str, place: str) -> httpx2.Request:
    """Let a request for a host go to one of its addresses."""
    if place != host:
        request.url = request.url.copy_with(host=place)
        request.extensions = {**request.extensions, "sni_hostname": host}
    return request


async def _finish(response: httpx2.Response, deadline: float) -> None:
    """Read a short body to its end. The status is known, so whatever happens now is no fault."""
    until = min(deadline, asyncio.get_running_loop().time() + BODY_SECONDS)
    size = 0
    with suppress(Exception):
        async with asyncio.timeout_at(until):
            async for part in response.stream:  # type: ignore[union-attr] # an asynchronous transport's is one
                size += len(part)
                if size > BODY_BYTES:
                    break
    with suppress(Exception):
        await response.aclose()  # and with it the connection, if there is more to come


def _before_sending(error: BaseException) -> bool:
    """Tell whether the request itself has not left, whatever was sent to get there."""
    import httpx2

    return isinstance(
        error,
        (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError, httpx2.LocalProtocolError),
    )  # fmt: skip


def _proxy_of(url: str) -> str:
    """Give the proxy that the environment names for a URL; loopback is asked directly."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return ""
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all") or ""
    return "" if not proxy or _is_loopback(host) or proxy_bypass(host) else proxy


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _plain(proxy: str) -> str:
    """Name a proxy without its credentials."""
    try:
        parts = urlsplit(proxy)
    except ValueError:
        return "the proxy"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if proxy else ""
