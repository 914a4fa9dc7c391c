"""Raw frames of a client: the gateway says what a server of ``websockets`` says, with one bound."""

import asyncio
from collections.abc import Mapping
from functools import partial
from itertools import product
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from gateway.limits import MESSAGE_BYTES_MAX
from tests.support.fake_provider import UNKEPT, beside
from tests.support.raw_frames import (
    BINARY,
    BINARY_BEGINS,
    CLOSE,
    KEY,
    LAST,
    MIDDLE,
    PING,
    PONG,
    READY,
    RSV1,
    RSV2,
    RSV3,
    TEXT,
    TEXT_BEGINS,
    Case,
    Outcome,
    answered,
    closing,
    dialled,
    frame,
    in_time,
    is_whole,
)

AT_ONCE = 16  # cases under way
f = partial(frame, key=KEY)
close = partial(closing, key=KEY)
BYE, BYE_HEARD = close(1000), "close 1000"
WRONG, INVALID, TOO_BIG = "close 1002 *", "close 1007 *", "close 1009 *"
ZERO = bytes(4)
EURO = "€".encode()  # three bytes
EARLY = "a header that is wrong whatever follows is refused at once, not with its payload"
ENDED = "what is open is ended, so that a response can be cancelled behind it"

# RFC 6455 by section: what is sent, what is heard, what is delivered.
CASES = [
    # 5.1: what a client sends is masked
    Case("5.1 a text", f(TEXT, b"hello") + BYE, BYE_HEARD, ("hello",)),
    Case("5.1 a mask of zeros", f(TEXT, b"hello", key=ZERO) + BYE, BYE_HEARD, ("hello",)),
    Case("5.1 a mask of ones", f(TEXT, b"hello", key=b"\xff" * 4) + BYE, BYE_HEARD, ("hello",)),
    Case("5.1 each frame its mask", f(TEXT, b"a") + f(TEXT, b"b", key=ZERO) + BYE, BYE_HEARD,
         ("a", "b")),
    Case("5.1 a text without a mask", frame(TEXT, b"hello") + BYE, WRONG),
    Case("5.1 an empty text without a mask", frame(TEXT) + BYE, WRONG),
    Case("5.1 a long text without a mask", frame(TEXT, b"x" * 126) + BYE, WRONG),
    Case("5.1 a ping without a mask", frame(PING, b"a") + BYE, WRONG),
    Case("5.1 a close without a mask", frame(CLOSE), WRONG),
    Case("5.1 a text without a mask behind one", f(TEXT, b"a") + frame(TEXT, b"b"), WRONG, ("a",)),
    Case("5.1 a fragment without a mask", f(TEXT_BEGINS, b"a") + frame(LAST, b"b"), WRONG, ("a",),
         theirs_delivered=(), why=ENDED),
    # 5.2: reserved bits
    Case("5.2 RSV1: compressed, which was not agreed on", f(RSV1 | TEXT, b"a"), WRONG),
    Case("5.2 RSV1 of binary", f(RSV1 | BINARY, b"a"), WRONG),
    Case("5.2 RSV1 of the first fragment", f(RSV1 | TEXT_BEGINS, b"a"), WRONG),
    Case("5.2 RSV1 of the last fragment", f(TEXT_BEGINS, b"a") + f(RSV1 | LAST, b"b"), WRONG,
         ("a",), theirs_delivered=(), why=ENDED),
    Case("5.2 RSV2", f(RSV2 | TEXT, b"a"), WRONG),
    Case("5.2 RSV3", f(RSV3 | TEXT, b"a"), WRONG),
    Case("5.2 all reserved bits", f(RSV1 | RSV2 | RSV3 | TEXT), WRONG),
    Case("5.2 RSV1 of a ping", f(RSV1 | PING), WRONG),
    Case("5.2 RSV2 of a close", f(RSV2 | CLOSE), WRONG),
    Case("5.2 RSV3 behind a message", f(TEXT, b"a") + f(RSV3 | TEXT, b"b") + BYE, WRONG, ("a",)),
    # 5.2: opcodes that are reserved
    *[Case(f"5.2 opcode {code}", f(0x80 | code, b"a") + BYE, WRONG)
      for code in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)],
    Case("5.2 opcode 3 in fragments", f(0x03) + f(LAST), WRONG),
    Case("5.2 opcode 3 without a mask", frame(0x83), WRONG),
    # 5.2: lengths
    Case("5.2 an empty text", f(TEXT) + BYE, BYE_HEARD, ("",)),
    Case("5.2 an empty binary", f(BINARY) + BYE, BYE_HEARD, (b"",)),
    *[Case(f"5.2 {size} bytes", f(BINARY, bytes(size)) + BYE, BYE_HEARD, (bytes(size),))
      for size in (125, 126, 127, 65_535, 65_536, 200_000)],
    Case("5.2 a length in two bytes too many", f(TEXT, b"a", width=2) + BYE, BYE_HEARD, ("a",)),
    Case("5.2 a length in eight bytes too many", f(TEXT, b"a", width=8) + BYE, BYE_HEARD, ("a",)),
    Case("5.2 no length, in eight bytes", f(TEXT, width=8) + BYE, BYE_HEARD, ("",)),
    Case("5.2 126 in eight bytes", f(BINARY, bytes(126), width=8) + BYE, BYE_HEARD, (bytes(126),)),
    Case("5.2 the length of a ping in two bytes", f(PING, b"a", width=2) + BYE,
         f"pong a, {BYE_HEARD}"),
    Case("5.2 a length with the top bit", f(BINARY, size=1 << 63), TOO_BIG),
    Case("5.2 the greatest length", f(TEXT, size=(1 << 64) - 1), TOO_BIG),
    Case("5.2 the greatest length, without a mask", frame(TEXT, size=(1 << 64) - 1), WRONG),
    # 5.4: fragments
    Case("5.4 two fragments", f(TEXT_BEGINS, b"a") + f(LAST, b"b") + BYE, BYE_HEARD, ("ab",)),
    Case("5.4 four, binary", f(BINARY_BEGINS, b"a") + f(MIDDLE, b"b") * 2 + f(LAST, b"c") + BYE,
         BYE_HEARD, (b"abbc",)),
    Case("5.4 empty ones", f(TEXT_BEGINS) + f(MIDDLE) + f(LAST) + BYE, BYE_HEARD, ("",)),
    Case("5.4 an empty first", f(TEXT_BEGINS) + f(LAST, b"a") + BYE, BYE_HEARD, ("a",)),
    Case("5.4 an empty last", f(TEXT_BEGINS, b"a") + f(LAST) + BYE, BYE_HEARD, ("a",)),
    Case("5.4 long ones", f(BINARY_BEGINS, bytes(70_000)) + f(LAST, bytes(300)) + BYE, BYE_HEARD,
         (bytes(70_300),)),
    Case("5.4 a thousand", f(TEXT_BEGINS) + f(MIDDLE, b"a") * 998 + f(LAST) + BYE, BYE_HEARD,
         ("a" * 998,)),
    Case("5.4 a ping between", f(TEXT_BEGINS, b"a") + f(PING, b"p") + f(LAST, b"b") + BYE,
         f"pong p, {BYE_HEARD}", ("ab",)),
    Case("5.4 pings everywhere",
         f(PING, b"1") + f(TEXT_BEGINS) + f(PING, b"2") * 2 + f(LAST) + f(PING, b"3") + BYE,
         f"pong 1, pong 2, pong 2, pong 3, {BYE_HEARD}", ("",)),
    Case("5.4 a pong between", f(TEXT_BEGINS, b"a") + f(PONG, b"p") + f(LAST, b"b") + BYE,
         BYE_HEARD, ("ab",)),
    Case("5.4 one message behind the other",
         f(TEXT_BEGINS, b"a") + f(LAST, b"b") + f(BINARY_BEGINS, b"c") + f(LAST, b"d") + BYE,
         BYE_HEARD, ("ab", b"cd")),
    Case("5.4 a text inside a text", f(TEXT_BEGINS, b"a") + f(TEXT, b"b"), WRONG, ("a",),
         theirs_delivered=(), why=ENDED),
    Case("5.4 a binary inside a text", f(TEXT_BEGINS, b"a") + f(BINARY, b"b"), WRONG, ("a",),
         theirs_delivered=(), why=ENDED),
    Case("5.4 a first fragment inside a binary",
         f(BINARY_BEGINS, b"a") + f(BINARY_BEGINS, b"b"), WRONG, (b"a",), theirs_delivered=(),
         why=ENDED),
    Case("5.4 a continuation of nothing", f(LAST, b"a") + BYE, WRONG),
    Case("5.4 a middle of nothing", f(MIDDLE, b"a") + f(LAST, b"b"), WRONG),
    Case("5.4 a continuation of a whole text", f(TEXT, b"a") + f(LAST, b"b"), WRONG, ("a",)),
    Case("5.4 a continuation of a last", f(TEXT_BEGINS) + f(LAST, b"a") + f(LAST, b"b"), WRONG,
         ("a",)),
    Case("5.4 a close between", f(TEXT_BEGINS, b"a") + BYE, WRONG, ("a",), theirs_delivered=(),
         why=ENDED),
    Case("5.4 a close between, whose reason is no UTF-8",
         f(TEXT, b"a") + f(TEXT_BEGINS) + close(1000, b"\xff"), WRONG, ("a", ""), theirs=INVALID,
         theirs_delivered=("a",), why=f"two things are wrong, and the header shows one; {ENDED}"),
    Case("5.4 a ping in fragments", f(PING & 0x7F, b"a") + f(LAST, b"b"), WRONG),
    Case("5.4 a pong in fragments", f(PONG & 0x7F) + f(LAST), WRONG),
    Case("5.4 a close in fragments", f(CLOSE & 0x7F, b"\x03") + f(LAST, b"\xe8"), WRONG),
    # 5.5: control frames
    Case("5.5 an empty ping", f(PING) + BYE, f"pong, {BYE_HEARD}"),
    Case("5.5 a ping of 125 bytes", f(PING, b"p" * 125) + BYE, f"pong {'p' * 125}, {BYE_HEARD}"),
    Case("5.5 a ping of any bytes", f(PING, b"\x00\xff\xc3") + BYE, rf"pong {chr(0)}\xff\xc3, "
         + BYE_HEARD),
    Case("5.5 pings around a text", f(PING, b"1") + f(TEXT, b"a") + f(PING, b"2") + BYE,
         f"pong 1, pong 2, {BYE_HEARD}", ("a",)),
    Case("5.5 a pong that nobody asked for", f(PONG, b"a") + f(PING, b"b") + BYE,
         f"pong b, {BYE_HEARD}"),
    Case("5.5 a ping of 126 bytes", f(PING, b"p" * 126) + BYE, WRONG),
    Case("5.5 a pong of 126 bytes", f(PONG, b"p" * 126) + BYE, WRONG),
    Case("5.5 a close of 126 bytes", close(1000, b"r" * 124), WRONG),
    Case("5.5 a ping of 65,536 bytes", f(PING, bytes(65_536)), WRONG),
    Case("5.5 a head alone, of a ping that is too long", f(PING, size=126), WRONG, ends=True,
         theirs="", why=EARLY),
    Case("5.5 a head alone, of a ping in fragments", f(PING & 0x7F, size=5), WRONG, ends=True,
         theirs="", why=EARLY),
    # 5.5.1, 7.4: closes
    Case("5.5.1 a close without a code", f(CLOSE), "close"),
    Case("5.5.1 a close of one byte", f(CLOSE, b"\x03"), WRONG),
    Case("5.5.1 a reason", close(1000, b"bye"), "close 1000 bye"),
    Case("5.5.1 a reason of 123 bytes", close(1000, b"r" * 123), f"close 1000 {'r' * 123}"),
    Case("5.5.1 a reason in UTF-8", close(1000, EURO), "close 1000 €"),
    Case("5.5.1 a reason that is no UTF-8", close(1000, b"a\xff"), INVALID),
    Case("5.5.1 a reason cut in a character", close(1000, EURO[:2]), INVALID),
    Case("5.5.1 data behind the close", f(TEXT, b"a") + BYE + f(TEXT, b"b"), BYE_HEARD, ("a",)),
    Case("5.5.1 a ping behind the close", BYE + f(PING, b"p"), BYE_HEARD),
    Case("5.5.1 a second close", BYE + close(1001), BYE_HEARD),
    Case("5.5.1 what is wrong, behind the close", BYE + frame(0xFF), BYE_HEARD),
    Case("5.5.1 what is wrong, and a close", f(0x83) + BYE, WRONG),
    Case("5.5.1 messages behind what is wrong", f(0x83) + f(TEXT, b"a") + f(PING), WRONG),
    *[Case(f"7.4 code {code}", close(code), f"close {code}")
      for code in (1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999)],
    *[Case(f"7.4 code {code}", close(code), WRONG)
      for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535)],
    # 8.1: texts are UTF-8
    Case("8.1 characters", f(TEXT, "aé€😀\0".encode()) + BYE, BYE_HEARD, ("aé€😀\0",)),
    Case("8.1 a character in two fragments", f(TEXT_BEGINS, EURO[:1]) + f(LAST, EURO[1:]) + BYE,
         BYE_HEARD, ("€",)),
    Case("8.1 a character in three, and a ping in it",
         f(TEXT_BEGINS, EURO[:1]) + f(MIDDLE, EURO[1:2]) + f(PING) + f(LAST, EURO[2:]) + BYE,
         f"pong, {BYE_HEARD}", ("€",)),
    Case("8.1 binary is any bytes", f(BINARY, b"\xff\xc3") + BYE, BYE_HEARD, (b"\xff\xc3",)),
    Case("8.1 a byte that never occurs", f(TEXT, b"a\xffb"), INVALID),
    Case("8.1 a continuation byte alone", f(TEXT, b"\x80"), INVALID),
    Case("8.1 a slash, overlong", f(TEXT, b"\xc0\xaf"), INVALID),
    Case("8.1 half of a surrogate pair", f(TEXT, b"\xed\xa0\x80"), INVALID),
    Case("8.1 a code point that is too great", f(TEXT, b"\xf4\x90\x80\x80"), INVALID),
    Case("8.1 the end cut in a character", f(TEXT, b"a" + EURO[:2]), INVALID),
    Case("8.1 the same, in the last fragment", f(TEXT_BEGINS, b"a") + f(LAST, EURO[:2]), INVALID),
    Case("8.1 the same, between two fragments", f(TEXT_BEGINS, EURO[:2]) + f(LAST, b"a"), INVALID),
    Case("8.1 behind a good one", f(TEXT, b"a") + f(TEXT, b"\xff"), INVALID, ("a",)),
    # 10.4: messages over the bound
    Case("10.4 one byte over", f(TEXT, size=MESSAGE_BYTES_MAX + 1), TOO_BIG),
    Case("10.4 the bound, of which the end is missing", f(TEXT, size=MESSAGE_BYTES_MAX), "",
         ends=True),
    Case("10.4 fragments together", f(TEXT_BEGINS, b"a") + f(LAST, size=MESSAGE_BYTES_MAX), TOO_BIG,
         ("a",), theirs_delivered=(), why=ENDED),
    Case("10.4 two messages together are none",
         f(TEXT_BEGINS, b"a") + f(LAST, b"a") + f(TEXT, size=MESSAGE_BYTES_MAX), "", ("aa",),
         ends=True),
    # 7.1.5: the connection ends without a close
    Case("7.1 nothing at all", b"", "", ends=True),
    Case("7.1 behind a text", f(TEXT, b"a"), "", ("a",), ends=True),
    Case("7.1 in a header", f(TEXT, b"a")[:1], "", ends=True),
    Case("7.1 in a length", f(TEXT, bytes(200))[:3], "", ends=True),
    Case("7.1 in a mask", f(TEXT, b"a")[:4], "", ends=True),
    Case("7.1 in a payload", f(TEXT, b"hello")[:-1], "", ends=True),
    Case("7.1 in a second message", f(TEXT, b"a") + f(TEXT, b"hello")[:-1], "", ("a",), ends=True),
    Case("7.1 in a close", BYE[:-1], "", ends=True),
    Case("7.1 between fragments", f(TEXT_BEGINS, b"a") + f(MIDDLE, b"b"), "", ("ab",), ends=True,
         theirs_delivered=(), why=ENDED),
    Case("7.1 behind the close", BYE, BYE_HEARD, ends=True),
    # several in one segment
    Case("many in one segment", f(TEXT, b"a") * 3 + f(BINARY, b"b") + f(TEXT) + BYE, BYE_HEARD,
         ("a", "a", "a", b"b", "")),
    Case("a wrong one behind good ones", f(TEXT, b"a") * 2 + f(PING, b"p") + f(0x83),
         f"pong p, {WRONG}", ("a", "a")),
]  # fmt: skip
GATEWAYS = ("relaying", "keeping")  # how they were configured: two ways that frames go
WAYS = {"at once": False, "byte by byte": True}


class Recorder:
    """A server that writes down what it is told in each case."""

    def __init__(self) -> None:
        self._delivered: dict[str, asyncio.Future[tuple[str | bytes, ...]]] = {}

    def of(self, name: str) -> "asyncio.Future[tuple[str | bytes, ...]]":
        """The messages of a case, once its connection has ended."""
        return self._delivered.setdefault(name, asyncio.get_running_loop().create_future())

    async def serve(self, connection: ServerConnection) -> None:
        """One connection, up to the gateway's own words when its client is gone."""
        messages: list[str | bytes] = []
        try:
            await connection.send(READY.decode())
            async for message in connection:
                if isinstance(message, str) and '"response.cancel"' in message:
                    break
                messages.append(message)
        except ConnectionClosed:
            pass
        self.of(asked_model(connection)).set_result(tuple(messages))


def asked_model(connection: ServerConnection) -> str:
    """The model that was asked for: the name of a case."""
    assert connection.request is not None
    (name,) = parse_qs(urlsplit(connection.request.path).query)["model"]
    return name


Results = Mapping[tuple[str, str, str], Outcome]


async def play_all() -> Results:
    """Each case, in each way, at both gateways and at the library."""
    results: dict[tuple[str, str, str], Outcome] = {}
    told = Recorder()
    places = asyncio.Semaphore(AT_ONCE)

    async def play(case: Case, way: str, who: str, port: int, key: str) -> None:
        name = f"{who}-{CASES.index(case)}-{way.replace(' ', '-')}"
        async with places:
            with dialled(port) as peer:
                await peer.say(handshake(name, key))
                await peer.until(frame(TEXT, READY))
                heard = await peer.play(case, is_bytewise=WAYS[way])
            delivered = await in_time(told.of(name), ("it did not end",))
            results[who, case.name, way] = Outcome(heard, delivered)

    # The library stands behind the gateways, and is asked directly.
    async with serve(
        told.serve, "127.0.0.1", 0, max_size=MESSAGE_BYTES_MAX, compression=None
    ) as server:
        port = server.sockets[0].getsockname()[1]
        provider = f"http://127.0.0.1:{port}"
        async with beside(provider, **UNKEPT) as cluster:
            key = await asyncio.to_thread(cluster.create_account, "raw")
            await asyncio.to_thread(cluster.start_gateway, OPENAI_BASE_URL=f"{provider}/v1")
            ports = [int(daemon.field("listen").split(":")[1]) for daemon in cluster.gateways]
            async with asyncio.TaskGroup() as tasks:
                for case, way in product(CASES, WAYS):
                    for who, at in zip((*GATEWAYS, "library"), (*ports, port), strict=True):
                        tasks.create_task(play(case, way, who, at, key))
            for daemon in cluster.gateways:
                assert await asyncio.to_thread(daemon.complaints) == []
    return results


def handshake(model: str, key: str) -> bytes:
    """A client's, which would compress, as browsers would."""
    return (
        f"GET /v1/realtime?model={model} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    ).encode()


@pytest.fixture(scope="module")
def results() -> Results:
    """All cases, played once."""
    return asyncio.run(play_all())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_stream_is_answered_as_the_library_answers(
    results: Results, case: Case, way: str
) -> None:
    """By both gateways and by the library as the table says: the same, where it gives no reason."""
    for gateway in GATEWAYS:
        answered(case, results[gateway, case.name, way], results["library", case.name, way])


def test_the_table_is_whole() -> None:
    """There are the cases that the issue asks for, twice."""
    is_whole(CASES, at_least=120)
