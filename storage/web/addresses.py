"""Which addresses a connection may go to."""

import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from core.errors import ItemError, TemporaryItemError

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver: TypeAlias = Callable[[str, int], Sequence[str]]
"""Host name and port to addresses, as text. OSError when there is none."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_IPV4_COMPATIBLE = ipaddress.IPv6Network("::/96")
# Public by its number, but a platform's own service on every machine there (Azure's WireServer).
_PLATFORM_SERVICES = frozenset({ipaddress.IPv4Address("168.63.129.16")})
# IANA's special-purpose blocks that not every Python version knows as such.
_SPECIAL = tuple(
    map(
        ipaddress.ip_network,
        ("192.0.0.0/24", "192.88.99.0/24", "64:ff9b:1::/48", "2002::/16", "3fff::/20", "5f00::/16"),
    )
)


def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [str(address[4][0]) for address in found]


@dataclass(frozen=True, slots=True)
class AddressRules:
    """Public addresses, and those of the operator's `networks`."""

    networks: tuple[Network, ...] = ()
    resolver: Resolver = resolve

    def reachable(self, host: str, port: int) -> tuple[str, ...]:
        """The allowed ones among a host's present addresses, in the resolver's order.

        ItemError `url_refused` when it has others only; TemporaryItemError `url_unavailable` when it has none.
        """
        try:
            texts = self.resolver(host, port)
        except (OSError, UnicodeError) as error:
            raise TemporaryItemError("url_unavailable", f"The host {host} has no address: check its name.") from error
        allowed = tuple(dict.fromkeys(str(address) for address in map(_parsed, texts) if self.allows(address)))
        if not allowed:
            raise ItemError(
                "url_refused",
                f"The host {host} has no public address, and is not fetched from: upload the files, or ask the "
                "operator to allow its network.",
            )
        return allowed

    def allows(self, address: Address) -> bool:
        """Whether a connection may go there: also by the IPv4 address that an IPv6 address stands for."""
        faces = (address, *_embedded(address))
        if any(face in network for network in self.networks for face in faces):
            return True
        return all(_is_public(face) for face in faces)


def _parsed(text: str) -> Address:
    return ipaddress.ip_address(text.partition("%")[0])


def _is_public(address: Address) -> bool:
    if address.is_multicast or address in _PLATFORM_SERVICES or any(address in network for network in _SPECIAL):
        return False
    return address.is_global


def _embedded(address: Address) -> tuple[Address, ...]:
    """The IPv4 addresses that packets to an IPv6 address may end up at, by the ways that systems translate them."""
    if isinstance(address, ipaddress.IPv4Address):
        return ()
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64 or address in _IPV4_COMPATIBLE:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return tuple(one for one in found if one is not None)
