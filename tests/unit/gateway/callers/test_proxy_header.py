"""The PROXY protocol's header: exactly one, or the connection ends."""

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.callers.proxy_header import BYTES_MAX, SIGNATURE, ProxyHeaderError, read

V4 = bytes([203, 0, 113, 7, 10, 0, 0, 1]) + struct.pack("!HH", 4711, 443)
V6 = ipaddress.ip_address("2001:db8::7").packed * 2 + struct.pack("!HH", 4711, 443)
SNI = b"\x02\x00\x03a.b"


def header(body: bytes, *, command: int = 0x21, family: int = 0x11) -> bytes:
    """A header with this body."""
    return SIGNATURE + struct.pack("!BBH", command, family, len(body)) + body


HEADERS = [
    (header(V4), "203.0.113.7"),
    (header(V4 + SNI + b"\x20\x00\x00"), "203.0.113.7"),
    (header(V6, family=0x21), "2001:db8::7"),
    (header(b"", family=0x00), None),  # the proxy does not know
    (header(b"", command=0x20, family=0x00), None),  # the proxy's own: a health check
    (header(b"what it likes", command=0x20, family=0x11), None),
]


@pytest.mark.parametrize(("data", "client"), HEADERS)
@pytest.mark.parametrize("rest", [b"", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01"])
def test_a_header_names_the_client(data: bytes, client: str | None, rest: bytes) -> None:
    """However it is cut, and whatever follows: before its last byte there is none."""
    assert [read((data + rest)[:end]) for end in range(len(data))] == [None] * len(data)
    found = read(data + rest)
    assert found is not None
    assert (found.size, found.client) == (len(data), client)


WRONG = [
    (b"GET / HTTP/1.1\r\n", "no PROXY protocol header"),
    (b"\x16\x03\x01", "no PROXY protocol header"),
    (b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n", "no PROXY protocol header"),
    (SIGNATURE[:-1] + b"\r", "no PROXY protocol header"),
    (header(V4, command=0x11), "version and command 0x11"),
    (header(V4, command=0x22), "version and command 0x22"),
    (header(V4, family=0x12), "family 0x12"),  # UDP
    (header(b"\0" * 216, family=0x31), "family 0x31"),  # a Unix socket
    (header(V4[:-1]), "found 11 bytes of addresses, expected 12"),
    (header(V4, family=0x21), "found 12 bytes of addresses, expected 36"),
    (header(V4 + SNI[:-1]), "cut off"),
    (header(V4 + b"\x02\x00"), "cut off"),
    (header(bytes(BYTES_MAX)), "bytes, expected at most"),
]


@pytest.mark.parametrize(("data", "complaint"), WRONG)
def test_anything_else_is_refused(data: bytes, complaint: str) -> None:
    """As soon as it shows, so that nothing of it counts as a client's bytes."""
    with pytest.raises(ProxyHeaderError, match=complaint):
        read(data)


@given(st.binary(max_size=300), st.integers(0, 300))
def test_no_bytes_are_taken_for_something_else(body: bytes, cut: int) -> None:
    """It is a header, there has to come more, or it is refused; never another error."""
    for data in (body, SIGNATURE + body, header(body)[:cut], header(V4 + body)):
        try:
            found = read(data)
        except ProxyHeaderError:
            continue
        assert found is None or found.size <= len(data)
