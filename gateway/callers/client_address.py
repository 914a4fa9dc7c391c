"""Where a client is, by its connection or by what a trusted proxy says of it. Pure.

A proxy is believed only where its own address is one of ``GATEWAY_TRUSTED_PROXIES``, and only in
the one form that is configured: anybody else could write any address. ``callers.callers`` counts by
what comes out of here.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# One customer of a provider has at least so much of IPv6 (RFC 6177): its addresses are one caller.
_IPV6_PREFIX: Final = 64
# RFC 4291 section 2.5.5.2: ::ffff:0:0/96 has all of IPv4.
_MAPPED_PREFIX: Final = 96
# ``X-Forwarded-For`` may have ports, and then brackets around an IPv6 address.
_WITH_PORT: Final = re.compile(r"\[([0-9a-fA-F:.]+)\](?::\d{1,5})?|([0-9.]+):\d{1,5}")


class Telling(Enum):
    """How trusted proxies tell whose connection they pass on."""

    FORWARDED_FOR = "x-forwarded-for"  # the header; each proxy appends whom it has heard
    PROXY_V2 = "proxy-v2"  # haproxy's PROXY protocol, before TLS and HTTP


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """The proxies in front of this gateway."""

    networks: tuple[Network, ...] = ()
    telling: Telling = Telling.FORWARDED_FOR

    def has(self, host: str) -> bool:
        """Whether ``host`` is one of them."""
        address = parse(host) if self.networks else None
        return address is not None and self._trusts(address)

    def client_of(self, peer: str, forwarded_for: Sequence[str]) -> str:
        """Who asks, where ``peer`` is the other end of the connection and ``forwarded_for`` are the
        values of the header: the last address that no trusted proxy has.

        What stands before it was written by whoever that is, and proves nothing. With something
        that is no address the chain ends, at the proxy that has passed it on.
        """
        if self.telling is not Telling.FORWARDED_FOR or not self.has(peer):
            return peer
        client = peer
        for text in reversed([part for value in forwarded_for for part in value.split(",")]):
            address = parse(text)
            if address is None:
                break
            client = str(address)
            if not self._trusts(address):
                break
        return client

    def _trusts(self, address: IpAddress) -> bool:
        return any(address in network for network in self.networks)


def read_networks(text: str) -> tuple[Network, ...]:
    """Addresses and networks, ``10.0.0.0/8,::1``. Raises ``ValueError``."""
    try:
        return tuple(_network(part.strip()) for part in text.split(","))
    except ValueError:
        raise ValueError("expected addresses or networks, like 10.0.0.0/8,192.0.2.7,::1") from None


def _network(text: str) -> Network:
    """A network as ``parse`` has its addresses: IPv4 in IPv6's clothes is IPv4, and none has the
    zone of an interface.
    """
    if "%" in text:
        raise ValueError(text)
    found = ipaddress.ip_network(text)
    if isinstance(found, ipaddress.IPv4Network):
        return found
    first = found.network_address.ipv4_mapped
    if first is None or found.prefixlen < _MAPPED_PREFIX:
        return found
    return ipaddress.ip_network((first, found.prefixlen - _MAPPED_PREFIX))


def parse(text: str) -> IpAddress | None:
    """An address as a socket or a header has it; None where it is none. An IPv4 address in IPv6's
    clothes (``::ffff:192.0.2.7``) is the IPv4 address.
    """
    text = text.strip()
    found = _WITH_PORT.fullmatch(text)
    if found is not None:
        text = found[1] or found[2]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def caller_of(host: str) -> str:
    """By what a client at ``host`` is counted: its IPv4 address, or the network of its IPv6 one."""
    address = parse(host)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, _IPV6_PREFIX), strict=False))
    return host if address is None else str(address)
