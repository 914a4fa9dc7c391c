"""Requests as they come over the wire: in any pieces, and any bytes at all."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.exchange import Exchange, HttpRequest, is_handshake
from gateway.http.refusals import Refusal
from gateway.limits import BODY_BYTES_MAX

REQUESTS = [
    b"GET /a?b=c HTTP/1.1\r\nHost: a\r\nX-Rs: 1\r\nX-Rs: 2\r\n\r\n",
    b"POST /a?b=c HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /a?b=c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
]


@given(st.sampled_from(REQUESTS), st.lists(st.integers(0, 120)))
def test_a_request_is_the_same_in_any_pieces(raw: bytes, cuts: list[int]) -> None:
    """It is there with its last byte and not before."""
    exchange, found = Exchange(), None
    at = sorted({0, len(raw), *(cut for cut in cuts if cut < len(raw))})
    for begin, end in itertools.pairwise(at):
        assert found is None
        found = exchange.receive(raw[begin:end])
    assert isinstance(found, HttpRequest)
    assert (found.method, found.target) == (raw.split(b" ")[0].decode(), "/a?b=c")
    assert found.body == (b"" if found.method == "GET" else b"hello")
    assert found.headers["Host"] == "a"


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_a_request_a_refusal_or_not_enough(tail: bytes, has_begin: bool) -> None:
    """Nothing raises, whatever comes."""
    raw = (b"POST / HTTP/1.1\r\nHost: a\r\n" if has_begin else b"") + tail
    found = Exchange().receive(raw + b"\r\n\r\n")
    assert isinstance(found, HttpRequest | Refusal | None)


@pytest.mark.parametrize("character", [b"\x01", b"\x1f", b"\x7f"])
def test_a_control_character_in_a_header_is_refused(character: bytes) -> None:
    """RFC 9110 section 5.5 leaves it to us; the answer repeats nothing of it."""
    head = b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer secret%b\r\n\r\n" % character
    found = Exchange().receive(head)
    assert isinstance(found, Refusal)
    assert (found.status, found.code) == (400, "bad_request")
    assert "secret" not in found.message


@pytest.mark.parametrize(
    ("length", "is_read"), [(BODY_BYTES_MAX, True), (BODY_BYTES_MAX + 1, False), (10**18, False)]
)
def test_a_body_has_a_bound(length: int, is_read: bool) -> None:
    """What announces more is refused before it is sent."""
    found = Exchange().receive(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % length)
    assert found is None if is_read else isinstance(found, Refusal) and found.status == 413


HEADS = [
    (b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", True),
    (b"GET / HTTP/1.1\r\nupgrade:WebSocket\r\n\r\n", True),
    (b"GET / HTTP/1.1\r\nUpgrade: h2c, websocket\r\n\r\n", True),
    (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", False),
    (b"GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n", False),
    (b"GET /?upgrade:websocket HTTP/1.1\r\nHost: a\r\n\r\n", False),
    (b"GET / HTTP/1.1\r\nX-Upgrade: websocket\r\n\r\n", False),
    (b"POST / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", False),
    (b"PRI * HTTP/2.0\r\n\r\n", False),
]


@pytest.mark.parametrize(("head", "is_websocket"), HEADS)
def test_what_asks_for_a_websocket(head: bytes, is_websocket: bool) -> None:
    """Only a GET whose Upgrade names it."""
    assert is_handshake(head) is is_websocket
