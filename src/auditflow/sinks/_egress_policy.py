"""Where callers of the sink service may make it connect to: what is public, and what the operator names.

Else whoever may call it could look around in the network it runs in, or take the credentials of its machine from
the metadata service (server-side request forgery).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final
from urllib.parse import urlsplit

from auditflow.errors import EgressDenied

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LOOPBACK: Final = (ip_network("127.0.0.0/8"), ip_network("::1/128"))

_UNICAST: Final = ip_network("2000::/3")
"""The only global addresses of IPv6, RFC 4291 §2.4 with IANA's registry."""
_NAT64: Final = ip_network("64:ff9b::/96")
"""Translated to the IPv4 address in the last four bytes, RFC 6052 §2.1."""
_WIRE_SERVER: Final = ip_address("168.63.129.16")
"""Azure's own service for machines, at an address that looks public."""


class EgressPolicy:
    """Tells targets that are refused from others. `allowed` are networks that are not, whatever they are."""

    def __init__(self, allowed: Sequence[Network] = ()) -> None:
        self._allowed = allowed

    def includes(self, address: Address) -> bool:
        """Tell whether an address may be connected to."""
        address = _meant(address)
        if any(address in network for network in self._allowed):
            return True
        unicast = isinstance(address, IPv4Address) or address in _UNICAST
        return unicast and address.is_global and not address.is_multicast and address != _WIRE_SERVER

    async def addresses(self, host: str) -> list[str]:
        """Resolve a host; give its addresses, at least one. Raises EgressDenied, or the resolver's OSError, UnicodeError."""
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
        if not all(self.includes(ip_address(each)) for each in addresses):
            raise EgressDenied(what=host)
        return addresses

    async def check(self, properties: Mapping[str, Any]) -> None:
        """Look at the URLs and addresses in a sink's properties. Raises EgressDenied, which names the property alone.

        A name that cannot be resolved is left to the sink, which says so in its own way.
        """
        for name, value in properties.items():
            for host in _hosts(value):
                try:
                    await self.addresses(host)
                except EgressDenied:
                    raise EgressDenied(what=name) from None
                except (OSError, UnicodeError):
                    continue


def _meant(address: Address) -> Address:
    """Give the IPv4 address that an IPv6 address stands for."""
    if isinstance(address, IPv4Address):
        return address
    in_it = IPv4Address(address.packed[-4:]) if address in _NAT64 else None
    return address.ipv4_mapped or address.sixtofour or in_it or address


def _hosts(value: Any) -> Iterator[str]:
    """Find the hosts of all texts in a value that are a URL or an address."""
    found = [value]
    while found:
        match found.pop():
            case str() as text if host := _host(text):
                yield host
            case dict() as members:
                found += members.values()
            case list() as items:
                found += items


def _host(text: str) -> str | None:
    try:
        return urlsplit(text).hostname if "://" in text else str(ip_address(text.strip("[]")))
    except ValueError:
        return None
