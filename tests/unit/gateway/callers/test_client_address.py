"""Where a client is, by what trusted proxies say; whoever is not trusted is not believed."""

import pytest

from gateway.callers.client_address import (
    Telling,
    TrustedProxies,
    caller_of,
    parse,
    read_networks,
)

PROXIES = TrustedProxies(read_networks("10.0.0.0/8, 192.0.2.1,fd00::/8"))
CHAINS = [
    # the connection's other end; X-Forwarded-For; the client
    ("10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
    ("10.0.0.1", [], "10.0.0.1"),
    ("203.0.113.9", ["203.0.113.7"], "203.0.113.9"),  # not trusted
    ("10.0.0.1", ["1.1.1.1, 203.0.113.7"], "203.0.113.7"),  # 1.1.1.1: the client's own word
    ("10.0.0.1", ["203.0.113.7, 192.0.2.1"], "203.0.113.7"),  # through two proxies
    ("10.0.0.1", ["203.0.113.7", "10.9.9.9"], "203.0.113.7"),  # in two lines
    ("10.0.0.1", ["10.1.1.1, 10.2.2.2"], "10.1.1.1"),  # a client in the proxies' own network
    ("10.0.0.1", ["203.0.113.7:4711"], "203.0.113.7"),
    ("10.0.0.1", ["[2001:db8::1]:443"], "2001:db8::1"),
    ("fd00::1", ["2001:db8::1"], "2001:db8::1"),
    ("::ffff:10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
    ("10.0.0.1", ["203.0.113.7, soup"], "10.0.0.1"),  # nobody knows whom the proxy heard
    ("10.0.0.1", ["203.0.113.7, soup, 10.3.3.3"], "10.3.3.3"),
    ("10.0.0.1", ["unknown"], "10.0.0.1"),
    ("10.0.0.1", [""], "10.0.0.1"),
]


@pytest.mark.parametrize(("peer", "forwarded", "client"), CHAINS)
def test_the_last_address_that_no_trusted_proxy_has_is_the_client(
    peer: str, forwarded: list[str], client: str
) -> None:
    """What is left of it was written by the client."""
    assert PROXIES.client_of(peer, forwarded) == client


def test_a_header_is_not_read_where_proxies_speak_the_proxy_protocol() -> None:
    """A client behind such a proxy can send any header."""
    proxies = TrustedProxies(PROXIES.networks, Telling.PROXY_V2)
    assert proxies.client_of("10.0.0.1", ["203.0.113.7"]) == "10.0.0.1"
    assert TrustedProxies().client_of("10.0.0.1", ["203.0.113.7"]) == "10.0.0.1"


NETWORKS = [
    ("::ffff:10.0.0.0/104", "10.9.8.7"),
    ("::ffff:192.0.2.7", "192.0.2.7"),
    ("::ffff:192.0.2.7", "::ffff:192.0.2.7"),
    ("::ffff:0:0/96", "203.0.113.1"),
    ("fe80::/10", "fe80::1%eth0"),
]


@pytest.mark.parametrize(("network", "proxy"), NETWORKS)
def test_a_proxy_is_trusted_however_its_address_is_written(network: str, proxy: str) -> None:
    """IPv4 in IPv6's clothes is IPv4, in the setting as on a socket."""
    assert TrustedProxies(read_networks(network)).has(proxy)
    assert not TrustedProxies(read_networks(network)).has("198.18.0.1") or network.endswith("/96")


def test_a_network_of_an_interface_is_refused() -> None:
    """A client's address is compared without its zone, so it would never be found."""
    with pytest.raises(ValueError, match="expected addresses or networks"):
        read_networks("fe80::1%eth0")


CALLERS = [
    ("203.0.113.7", "203.0.113.7"),
    ("::ffff:203.0.113.7", "203.0.113.7"),
    ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
    ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
    ("fe80::1%eth0", "fe80::/64"),
    ("", ""),
]


@pytest.mark.parametrize(("host", "caller"), CALLERS)
def test_a_network_of_ipv6_is_one_caller(host: str, caller: str) -> None:
    """Its owner may use any of 2^64 addresses."""
    assert caller_of(host) == caller


@pytest.mark.parametrize("text", ["", "10.0.0.1/8", "ten", "10.0.0.1,", "10.0.0.0/33"])
def test_networks_that_cannot_be_meant_are_refused(text: str) -> None:
    """An address with a mask that cuts it is a slip."""
    with pytest.raises(ValueError, match="expected addresses or networks"):
        read_networks(text)


@pytest.mark.parametrize("text", ["1.2.3.4:", "1.2.3.4:x", "[1.2.3", "a:b", "1.2.3.4 5.6.7.8"])
def test_what_is_no_address_is_none(text: str) -> None:
    """Also with something like a port."""
    assert parse(text) is None
