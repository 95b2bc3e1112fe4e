"""What a web page may not do where nobody is asked who he is: its browser reaches what listens on loopback.

A page of another origin cannot read answers, but what it sends counts: it may change nothing. A page whose own name
is made to lead here (DNS rebinding) is of the same origin in the browser's eyes: it is told by the `Host` it names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Final

from auditflow.errors import ForeignHost, ForeignPage
from auditflow.ingest.auth.settings import AuthConfig

READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
KNOWN: Final = 100
"""Values of `Host` remembered as good."""
_MARKS: Final = (b"origin", b"sec-fetch-site")
_SITES: Final = frozenset({b"same-origin", b"none"})


class WebPages:
    """Tells calls of foreign pages from others.

    `hosts` are the names, without a port, that the server goes by besides those of loopback; None takes any. With
    `addresses` it goes by every address too: no page's name is one.
    """

    def __init__(self, hosts: Iterable[str] | None, *, addresses: bool = False) -> None:
        self._hosts = None if hosts is None else frozenset(hosts)
        self._addresses = addresses
        self._known: set[bytes] = set()

    def harmless(self, headers: Mapping[bytes, bytes]) -> bool:
        """Tell at once that no page has made this call; one that cannot be told needs `check`."""
        if _MARKS[0] in headers or _MARKS[1] in headers:
            return False
        return self._hosts is None or headers.get(b"host", b"") in self._known

    def check(self, method: str, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Raise ForeignHost for a name that is not this server's, ForeignPage for a foreign page's change."""
        given = list(headers)
        host = next((value for name, value in given if name == b"host"), b"")
        if self._hosts is not None and host not in self._known:
            self._check_host(host)
        if method in READING:
            return
        for name, value in given:
            if name == _MARKS[1] and value.strip().lower() not in _SITES:
                raise ForeignPage(origin="another site")
            if name == _MARKS[0] and not self._is_ours(value.strip().lower(), host.lower()):
                raise ForeignPage(origin=_shown(value))

    def _check_host(self, host: bytes) -> None:
        if host and not self._is_own_name(_name(host.lower())):  # without any it is no browser
            raise ForeignHost(host=_shown(host))
        if len(self._known) < KNOWN:
            self._known.add(host)

    def _is_own_name(self, name: str) -> bool:
        if name in (self._hosts or ()) or name == "localhost" or name.endswith(".localhost"):
            return True  # RFC 6761 §6.3: a name below localhost leads nowhere else
        try:
            return ip_address(name).is_loopback or self._addresses
        except ValueError:
            return False

    def _is_ours(self, origin: bytes, host: bytes) -> bool:
        scheme, separator, authority = origin.partition(b"://")
        if not separator or scheme not in {b"http", b"https"}:
            return False
        return authority == host or _name(authority) in (self._hosts or ())


def _name(authority: bytes) -> str:
    """Give the host of an authority, without its port."""
    text = authority.decode("latin-1")
    name, colon, port = text.rpartition(":")
    return (name if colon and port.isdigit() else text).removeprefix("[").removesuffix("]").rstrip(".")


def _shown(value: bytes) -> str:
    return ascii(value[:100].decode("latin-1"))


def web_pages_of(hosts: Sequence[str], auth: AuthConfig | None) -> WebPages | None:
    """Give what the configuration asks for; None where callers say who they are and no names were given."""
    if auth is None:
        return WebPages(hosts)  # it listens on loopback alone
    if hosts or auth.insecure_allow_anyone:
        return WebPages(hosts or None, addresses=True)
    return None
