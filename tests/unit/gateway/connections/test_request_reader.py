"""What a client asks for, however its bytes are cut."""

import pytest
from websockets.http11 import Request

from gateway.connections.downstream import TRANSITIONS, RequestPhase
from gateway.connections.request_reader import RequestReader
from gateway.http.exchange import HttpRequest
from gateway.http.refusals import Refusal
from gateway.limits import HANDSHAKE_BYTES_MAX

UPGRADE = (
    b"GET /v1/realtime?model=m HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
POST = b"POST /v1/x HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody"


@pytest.mark.parametrize("cut", [1, 7, len(UPGRADE) - 2, len(UPGRADE) + 1])
def test_frames_behind_a_handshake_are_left(cut: int) -> None:
    """``websockets`` gets the head alone: what stands behind it is for the frame scanner."""
    reader, data = RequestReader(), UPGRADE + b"\x81\x80frames"
    found = [reader.receive(part) for part in (data[:cut], data[cut:]) if part]
    request = next(one for one in found if one is not None)
    assert isinstance(request, Request)
    assert request.path == "/v1/realtime?model=m"
    assert UPGRADE + reader.rest == data[: len(UPGRADE) + len(reader.rest)]
    assert reader.exchange is None


@pytest.mark.parametrize("size", [1, 10, len(POST)])
def test_a_plain_request_comes_with_its_body(size: int) -> None:
    """In pieces of any size."""
    reader = RequestReader()
    pieces = [POST[at : at + size] for at in range(0, len(POST), size)]
    *before, request = [reader.receive(piece) for piece in pieces]
    assert set(before) <= {None}
    assert isinstance(request, HttpRequest)
    assert (request.method, request.target, request.body) == ("POST", "/v1/x", b"body")


REFUSED = [
    (b"\x16\x03\x01\x02\x00", "no_tls_here"),
    (b"GET / HTTP/1.1\r\nX: " + b"x" * HANDSHAKE_BYTES_MAX, "headers_too_large"),
    (UPGRADE.replace(b"HTTP/1.1", b"HTTP/9"), "bad_request"),
]


@pytest.mark.parametrize(("data", "code"), REFUSED)
def test_what_cannot_be_read_is_refused(data: bytes, code: str) -> None:
    """TLS on the plain port, a head without end, and what is no HTTP."""
    refusal = RequestReader().receive(data)
    assert isinstance(refusal, Refusal)
    assert refusal.code == code


def test_the_phases_of_a_client_are_complete() -> None:
    """Every phase has an entry, and every way ends with an upgrade or an answer."""
    assert set(TRANSITIONS) == set(RequestPhase)
    ends = {phase for phase, following in TRANSITIONS.items() if not following}
    assert ends == {RequestPhase.UPGRADED, RequestPhase.ANSWERED}
