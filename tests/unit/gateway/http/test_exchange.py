"""One plain HTTP exchange: what the server says before and after the request is whole."""

import h11
import pytest

from gateway.http.exchange import Exchange, HttpRequest
from gateway.http.refusals import Refusal
from gateway.limits import BODY_BYTES_MAX, CHUNKS_MAX, HANDSHAKE_BYTES_MAX

POST = b"POST /v1/x HTTP/1.1\r\nHost: h\r\n"
CONTINUE = [
    # headers of the request; what a client that waits for it is told before its body
    (b"Content-Length: 4\r\n", b""),
    (b"Content-Length: 4\r\nExpect: 100-continue\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
    (b"Content-Length: %d\r\nExpect: 100-continue\r\n" % (BODY_BYTES_MAX + 1), b""),
]


@pytest.mark.parametrize(("headers", "told"), CONTINUE)
def test_a_client_that_waits_is_told_to_go_on_once(headers: bytes, told: bytes) -> None:
    """RFC 9110 section 10.1.1; not where its body is refused already."""
    exchange = Exchange()
    exchange.receive(POST + headers + b"\r\n")
    assert exchange.data_to_send() == told
    assert exchange.data_to_send() == b""


def test_a_body_of_unknown_length_has_the_same_bound() -> None:
    """Chunks announce nothing: they are counted."""
    exchange = Exchange()
    assert exchange.receive(POST + b"Transfer-Encoding: chunked\r\n\r\n") is None
    chunk = b"%x\r\n%b\r\n" % (BODY_BYTES_MAX, b"x" * BODY_BYTES_MAX)
    assert exchange.receive(chunk) is None
    refusal = exchange.receive(b"1\r\nx\r\n")
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.code) == (413, "body_too_large")


COSTLY = [
    # what a stranger sends after its head, and whether it is refused before all of it is parsed
    (b"1\r\nx\r\n" * CHUNKS_MAX + b"0\r\n\r\n", False),
    (b"1\r\nx\r\n" * BODY_BYTES_MAX + b"0\r\n\r\n", True),
    (b"1;%b\r\nx\r\n" % (b"a" * (HANDSHAKE_BYTES_MAX - 99)) * 99, True),
]


@pytest.mark.parametrize(("sent", "is_refused"), COSTLY, ids=range(len(COSTLY)))
@pytest.mark.parametrize("step", [1_000, 262_144])
def test_a_body_costs_so_many_chunks_and_no_more(sent: bytes, is_refused: bool, step: int) -> None:
    """A chunk costs the same whatever its length, and what stands beside its data is no body."""
    exchange = Exchange()
    exchange.receive(POST + b"Transfer-Encoding: chunked\r\n\r\n")
    pieces = (sent[at : at + step] for at in range(0, len(sent), step))
    found = next((found for piece in pieces if (found := exchange.receive(piece))), None)
    if is_refused:
        assert isinstance(found, Refusal)
        assert (found.status, found.code) == (413, "body_too_large")
        assert len(exchange._body) <= CHUNKS_MAX + 1
    else:
        assert isinstance(found, HttpRequest)


def asked(method: bytes, version: bytes = b"1.1") -> Exchange:
    """An exchange whose request is whole."""
    exchange = Exchange()
    found = exchange.receive(b"%b / HTTP/%b\r\nHost: h\r\n\r\n" % (method, version))
    assert isinstance(found, HttpRequest)
    return exchange


@pytest.mark.parametrize(("method", "is_head"), [(b"GET", False), (b"HEAD", True)])
def test_only_an_answer_to_head_has_no_body(method: bytes, is_head: bool) -> None:
    """RFC 9110 section 9.3.2."""
    assert Exchange().is_head is False, "no request is there yet"
    assert asked(method).is_head is is_head


def read(data: bytes, *, is_closed: bool) -> list[h11.Event | type[h11.PAUSED]]:
    """What a client of h11's understands of an answer."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "h")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    if is_closed:
        client.receive_data(b"")
    events: list[h11.Event | type[h11.PAUSED]] = []
    while not events or not isinstance(events[-1], h11.EndOfMessage):
        events.append(client.next_event())  # type: ignore[arg-type]
    return events


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_an_answer_in_pieces_arrives_whole(version: bytes) -> None:
    """In chunks; to a client of HTTP/1.0, which has none, until the close."""
    exchange = asked(b"GET", version)
    head = exchange.begin({"Content-Type": "text/csv"})
    wire = head + exchange.piece(b"one,") + exchange.piece(b"two") + exchange.end()
    response, *rest = read(wire, is_closed=version == b"1.0")
    assert isinstance(response, h11.Response)
    assert response.status_code == 200
    assert b"".join(e.data for e in rest if isinstance(e, h11.Data)) == b"one,two"
    assert (b"Transfer-Encoding: chunked" in head) is (version == b"1.1")


def test_an_answer_that_breaks_off_is_noticed() -> None:
    """RFC 9112 section 8: without its last chunk it is incomplete."""
    exchange = asked(b"GET")
    wire = exchange.begin({}) + exchange.piece(b"half")
    with pytest.raises(h11.RemoteProtocolError, match="without sending complete message body"):
        read(wire, is_closed=True)
