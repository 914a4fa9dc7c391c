"""Handshakes in their usual form are what ``websockets`` makes of them; others are left to it."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI
from websockets.utils import accept_key

from gateway.connections import handshakes
from gateway.http.exchange import HEAD_END, REALTIME_SUBPROTOCOL

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
NOW_S = 1_800_000_000
DATE = re.compile(rb"Date: [^\r]*\r\n")
ENDS = (b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\n ")

# What each client sends beside the path.
USUAL = {
    "websockets": ["Host: h", "Upgrade: websocket", "Connection: Upgrade"],
    "a browser": [
        "Host: gateway:8080", "Connection: Upgrade", "Pragma: no-cache", "Upgrade: websocket",
        "Origin: https://page.example", "Accept-Encoding: gzip, deflate, br",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        "Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.rslive_v1_00",
    ],
    "Firefox": ["Host: h", "Upgrade: websocket", "Connection: keep-alive, Upgrade"],
    "Go": ["host:h", "upgrade:WebSocket", "connection:upgrade", "User-Agent: Go-http-client/1.1"],
}  # fmt: skip


class Library(ServerProtocol):
    """The rules."""

    def select_subprotocol(self, subprotocols: list[Subprotocol]) -> Subprotocol | None:  # type: ignore[override]
        """As the gateway selects."""
        name = Subprotocol(REALTIME_SUBPROTOCOL)
        return name if name in subprotocols else None


def request_head(lines: list[str]) -> bytes:
    """A client's head with the key and the version."""
    own = ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}"]
    return "\r\n".join(["GET /v1/realtime?model=m HTTP/1.1", *lines, *own, "", ""]).encode()


def by_library(head: bytes) -> tuple[Request, bytes] | None:
    """The request and the answer that accepts it; None where there is none."""
    protocol = Library()
    protocol.receive_data(head)
    events = protocol.events_received()
    if protocol.handshake_exc is not None or not events:
        return None
    (request,) = events
    assert isinstance(request, Request)
    response = protocol.accept(request)
    return (request, response.serialize()) if response.status_code == 101 else None


@pytest.mark.parametrize("client", USUAL)
def test_what_clients_send_is_usual(client: str) -> None:
    """Otherwise nothing would be gained."""
    assert handshakes.read_request(request_head(USUAL[client])) is not None


REQUEST_LINES = st.sampled_from(
    [b"GET /v1/realtime?model=m HTTP/1.1"] * 9
    + [
        b"GET /x HTTP/1.0", b"POST /x HTTP/1.1", b"get /x HTTP/1.1", b"GET  HTTP/1.1",
        b"GET /a b HTTP/1.1", b"GET /\xc3\xa9 HTTP/1.1", b"GET /x", b"GET\t/x HTTP/1.1",
        b" GET /x HTTP/1.1", b"GET /\x01 HTTP/1.1", b"GET /" + b"x" * 8_200 + b" HTTP/1.1",
    ]
)  # fmt: skip
NEEDED = [
    b"Host: h", b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: " + KEY.encode(),
]  # fmt: skip
OTHERS = [
    b"Upgrade: WebSocket", b"Upgrade: h2c", b"Upgrade: websocket, h2c", b"Upgrade:", b"upgrade:",
    b"Connection: keep-alive, Upgrade", b"Connection: keep-alive", b"Connection: ,Upgrade",
    b"Connection: Upgrade;x", b"Connection: upgrade, upgrade", b"Connection:\tUpgrade\t",
    b"Sec-WebSocket-Version: 8", b"Sec-WebSocket-Version: 13, 8", b"Sec-WebSocket-Version:13 ",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=",
    b"Sec-WebSocket-Key: dGhl", b"Sec-WebSocket-Key: ", b"Sec-WebSocket-Key:" + KEY.encode(),
    b"Origin: https://a", b"Origin: https://b", b"Origin:", b"Transfer-Encoding: chunked",
    b"Content-Length: 0", b"Content-Length: 5", b"Content-Length: x",
    b"Sec-WebSocket-Protocol: realtime", b"Sec-WebSocket-Protocol: a,realtime",
    b"Sec-WebSocket-Protocol: realtime x", b"Sec-WebSocket-Protocol: ,", b"Sec-WebSocket-Protocol:",
    b"Sec-WebSocket-Protocol: a,  realtime ,b", b"Sec-WebSocket-Protocol: Realtime",
    b"Sec-WebSocket-Extensions: permessage-deflate", b"Sec-WebSocket-Extensions: ;;",
    b"X-Name: value", b"X-Name:", b"X Name: v", b": v", b"NoColon", b" folded", b"X: a\x00b",
    b"X: \xc3\xa9", b"X\xc3: a", b"X: a\rb", b"X: \x7f", b"X:\ta", b"X: " + b"y" * 8_192,
    *[b"X-%d: y" % n for n in range(3)],
]  # fmt: skip
NAMES = st.text("-abzAZ09!#$%&'*+.^_`|~ :\t\x7f", max_size=6).map(str.encode)
VALUES = st.binary(max_size=8)
LINES = st.one_of(
    st.sampled_from(NEEDED),
    st.sampled_from(OTHERS),
    st.builds(b"%b: %b".__mod__, st.tuples(NAMES, VALUES)),
)


@st.composite
def request_heads(draw: st.DrawFn) -> bytes:
    """Heads that are right, or wrong in a few places."""
    needed = [line for line in NEEDED if draw(st.integers(0, 19))]
    extra = (
        draw(st.lists(LINES, max_size=4))
        if draw(st.booleans())
        else draw(st.lists(st.sampled_from(OTHERS), max_size=1))
    )
    lines = draw(st.permutations([*needed, *extra]))
    many = draw(st.sampled_from([0] * 15 + [90, 95, 100, 123, 130]))
    lines = [draw(REQUEST_LINES), *lines, *[b"Y: z"] * many]
    ends = [draw(st.sampled_from(ENDS)) if not draw(st.integers(0, 9)) else b"\r\n" for _ in lines]
    whole = b"".join(line + end for line, end in zip(lines, ends, strict=True)) + HEAD_END
    # As ``RequestReader`` cuts it.
    return whole[: whole.index(HEAD_END) + 4]


@given(head=request_heads())
@example(head=request_head(USUAL["a browser"]))
@example(head=request_head(USUAL["Go"]))
def test_a_usual_request_is_what_the_library_reads(head: bytes) -> None:
    """The same request, and the same answer to it."""
    asked = handshakes.read_request(head)
    if asked is None:
        return
    expected = by_library(head)
    assert expected is not None, "the library refuses what is accepted here"
    request, answer = expected
    assert asked.request == request
    assert list(asked.request.headers.raw_items()) == list(request.headers.raw_items())
    ours = handshakes.acceptance(asked, wall_s=NOW_S)
    assert DATE.sub(b"", ours) == DATE.sub(b"", answer)
    assert b"Date: Fri, 15 Jan 2027 08:00:00 GMT\r\n" in ours


# --- with a provider -----------------------------------------------------------------------------

STATUS_LINES = st.sampled_from(
    [b"HTTP/1.1 101 Switching Protocols"] * 9
    + [
        b"HTTP/1.1 101 ", b"HTTP/1.1 101", b"HTTP/1.0 101 x", b"HTTP/1.1 200 OK",
        b"HTTP/1.1  101 x",
        b"HTTP/1.1 0101 x", b"HTTP/1.1 101 \xff", b"HTTP/1.1 101 a\x00", b"HTTP/1.1 101 \t",
    ]
)  # fmt: skip
ACCEPT = b"Sec-WebSocket-Accept: " + accept_key(KEY).encode()
ANSWERED = [b"Upgrade: websocket", b"Connection: Upgrade", ACCEPT]
ALSO = [
    *OTHERS, ACCEPT + b" ", ACCEPT[:-1], ACCEPT.lower(), b"Set-Cookie: a=b", b"Set-Cookie: c=d",
    b"Content-Encoding: gzip", b"Server: cloudflare",
]  # fmt: skip


@st.composite
def answer_heads(draw: st.DrawFn) -> bytes:
    """Heads of answers that are right, or wrong in a few places."""
    needed = [line for line in ANSWERED if draw(st.integers(0, 19))]
    lines = draw(st.permutations([*needed, *draw(st.lists(st.sampled_from(ALSO), max_size=3))]))
    many = draw(st.sampled_from([0] * 15 + [96, 100, 125, 130]))
    lines = [draw(STATUS_LINES), *lines, *[b"Y: z"] * many]
    ends = [draw(st.sampled_from(ENDS)) if not draw(st.integers(0, 9)) else b"\r\n" for _ in lines]
    whole = b"".join(line + end for line, end in zip(lines, ends, strict=True)) + HEAD_END
    return whole[: whole.index(HEAD_END) + 4]


@given(head=answer_heads())
@example(head=b"\r\n".join([b"HTTP/1.1 101 Switching Protocols", *ANSWERED, b"", b""]))
def test_what_is_accepted_is_accepted_by_the_library(head: bytes) -> None:
    """What is not usual is asked again there, so a false answer says nothing."""
    if handshakes.accepts(head, KEY):
        protocol = ClientProtocol(handshakes.uri_of("ws://h/"))
        protocol.key = KEY
        protocol.receive_data(head)
        assert protocol.state is State.OPEN


def test_a_usual_answer_is_accepted() -> None:
    """With the headers that a provider's proxy adds, of which one comes twice."""
    also = [b"Set-Cookie: a=b", b"Set-Cookie: c=d", b"Server: cloudflare", b"Date: x"]
    head = b"\r\n".join([b"HTTP/1.1 101 Switching Protocols", *ANSWERED, *also, b"", b""])
    assert handshakes.accepts(head, KEY)
    assert not handshakes.accepts(head, KEY.replace("d", "e"))


URIS = st.builds(
    WebSocketURI,
    secure=st.booleans(), host=st.sampled_from(["a.example", "127.0.0.1", "::1"]),
    port=st.sampled_from([80, 443, 8080]), path=st.sampled_from(["", "/", "/v1/realtime"]),
    query=st.sampled_from(["", "model=m&x=%20"]),
    username=st.sampled_from([None, None, "u"]), password=st.just("p"),
)  # fmt: skip
HEADERS = st.dictionaries(
    st.sampled_from(["Authorization", "api-key", "OpenAI-Safety-Identifier"]),
    st.text(st.characters(max_codepoint=0x100), max_size=5),
)


@given(uri=URIS, headers=HEADERS)
def test_the_request_is_the_library_s(uri: WebSocketURI, headers: dict[str, str]) -> None:
    """Byte for byte; a name or a value that needs care is left to the library."""
    ours = handshakes.request_of(uri, headers, KEY)
    if ours is None:
        return
    protocol = ClientProtocol(uri)
    protocol.key = KEY
    request = protocol.connect()
    try:
        for name, value in headers.items():
            request.headers[name] = value
    except InvalidHandshake:
        pytest.fail("the library refuses a header")
    assert ours == request.serialize()
