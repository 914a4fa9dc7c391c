"""Raw frames of a provider: the gateway says what a client of ``websockets`` says."""

import asyncio
import re
import socket
from collections.abc import Mapping
from dataclasses import replace
from itertools import product

import pytest
from websockets.asyncio.client import connect
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
    RSV1,
    SECONDS,
    TEXT,
    TEXT_BEGINS,
    Case,
    Outcome,
    RawPeer,
    acceptance,
    answered,
    closing,
    frame,
    in_time,
    is_whole,
)

AT_ONCE = 16
f = frame
BYE, BYE_HEARD = closing(1000), "close 1000"
WRONG, INVALID, TOO_BIG = "close 1002 *", "close 1007 *", "close 1009 *"
LEFT = 'text {"type":"response.cancel",*, close 1000'
EURO = "€".encode()
EARLY = "a header that is wrong whatever follows is refused at once, not with its payload"
PASSED = "texts are passed on as they are, and it is the client that refuses them"

CASES = [
    Case("5.1 a text", f(TEXT, b"hello") + BYE, BYE_HEARD, ("hello",)),
    Case("5.1 a text with a mask", f(TEXT, b"hello", key=KEY), WRONG),
    Case("5.1 a text with a mask of zeros", f(TEXT, b"a") + f(TEXT, b"b", key=bytes(4)), WRONG,
         ("a",)),
    Case("5.1 a close with a mask", closing(1000, key=KEY), WRONG),
    Case("5.2 RSV1", f(RSV1 | TEXT, b"a"), WRONG),
    Case("5.2 RSV1 of a ping behind a text", f(TEXT, b"a") + f(RSV1 | PING), WRONG, ("a",)),
    *[Case(f"5.2 opcode {code}", f(0x80 | code), WRONG) for code in (3, 7, 11, 15)],
    Case("5.2 empty ones", f(TEXT) + f(BINARY) + BYE, BYE_HEARD, ("", b"")),
    *[Case(f"5.2 {size} bytes", f(BINARY, bytes(size)) + BYE, BYE_HEARD, (bytes(size),))
      for size in (125, 126, 65_535, 65_536, 300_000)],
    Case("5.2 a length in too many bytes", f(TEXT, b"a", width=2) + f(TEXT, b"b", width=8) + BYE,
         BYE_HEARD, ("a", "b")),
    Case("5.2 the greatest length", f(BINARY, size=(1 << 64) - 1), TOO_BIG),
    Case("5.4 fragments", f(TEXT_BEGINS, b"a") + f(MIDDLE, b"b") + f(LAST, b"c") + BYE, BYE_HEARD,
         ("abc",)),
    Case("5.4 empty fragments", f(BINARY_BEGINS) + f(MIDDLE) + f(LAST) + BYE, BYE_HEARD, (b"",)),
    Case("5.4 pings between fragments",
         f(TEXT_BEGINS, b"a") + f(PING, b"1") + f(LAST, b"b") + f(PING, b"2") + BYE,
         f"pong 1, pong 2, {BYE_HEARD}", ("ab",)),
    Case("5.4 a text inside a text", f(TEXT_BEGINS, b"a") + f(TEXT, b"b"), WRONG),
    Case("5.4 a continuation of nothing", f(LAST, b"a"), WRONG),
    Case("5.4 a close between fragments", f(TEXT_BEGINS, b"a") + BYE, WRONG),
    Case("5.4 a ping in fragments", f(PING & 0x7F) + f(LAST), WRONG),
    Case("5.5 a ping of 125 bytes", f(PING, b"p" * 125) + BYE, f"pong {'p' * 125}, {BYE_HEARD}"),
    Case("5.5 a ping of 126 bytes", f(PING, b"p" * 126), WRONG),
    Case("5.5 the head of one, alone", f(PING, size=126), WRONG, ends=True, theirs="", why=EARLY),
    Case("5.5 a pong that nobody asked for", f(PONG, b"a") + f(TEXT, b"b") + BYE, BYE_HEARD,
         ("b",)),
    Case("5.5.1 a close without a code", f(CLOSE), "close"),
    Case("5.5.1 a close of one byte", f(CLOSE, b"\x03"), WRONG),
    Case("5.5.1 a reason", closing(1000, EURO), "close 1000 €"),
    Case("5.5.1 a reason that is no UTF-8", closing(1000, b"a\xff"), INVALID),
    Case("5.5.1 data behind the close", f(TEXT, b"a") + BYE + f(TEXT, b"b") + f(PING), BYE_HEARD,
         ("a",)),
    Case("5.5.1 what is wrong, behind the close", BYE + f(0xFF), BYE_HEARD),
    Case("5.5.1 a close behind what is wrong", f(0x83) + BYE, WRONG),
    *[Case(f"7.4 code {code}", closing(code), f"close {code}")
      for code in (1001, 1008, 1011, 1013, 3000, 4999)],
    *[Case(f"7.4 code {code}", closing(code), WRONG) for code in (0, 999, 1005, 1006, 1015, 5000)],
    Case("8.1 a character in two fragments", f(TEXT_BEGINS, EURO[:1]) + f(LAST, EURO[1:]) + BYE,
         BYE_HEARD, ("€",)),
    Case("8.1 a text that is no UTF-8", f(TEXT, b"a\xff"), LEFT, theirs=INVALID, why=PASSED),
    Case("8.1 a text cut in a character", f(TEXT_BEGINS, b"a") + f(LAST, EURO[:2]), LEFT,
         theirs=INVALID, why=PASSED),
    Case("10.4 one byte over", f(TEXT, size=MESSAGE_BYTES_MAX + 1), TOO_BIG),
    Case("10.4 fragments together", f(BINARY_BEGINS, b"a") + f(LAST, size=MESSAGE_BYTES_MAX),
         TOO_BIG),
    Case("7.1 an end behind a text", f(TEXT, b"a"), "", ("a",), ends=True),
    Case("7.1 an end in a header", f(TEXT, b"a")[:1], "", ends=True),
    Case("7.1 an end in a payload", f(TEXT, b"hello")[:-1], "", ends=True),
    Case("7.1 an end between fragments", f(TEXT_BEGINS, b"a"), "", ends=True),
    Case("many in one segment", f(TEXT, b"a") * 3 + f(PING) + f(BINARY, b"b") + BYE,
         f"pong, {BYE_HEARD}", ("a", "a", "a", b"b")),
]  # fmt: skip
WAYS = {"at once": False, "byte by byte": True}
MODEL = re.compile(rb"model=case-(\d+)-(\d)")


class RawProvider:
    """Plays the case that a request names, and keeps what it hears."""

    def __init__(self, listening: socket.socket) -> None:
        listening.setblocking(False)
        self._listening = listening
        self.heard: dict[bytes, asyncio.Future[str]] = {}

    async def serve(self) -> None:
        """Take connections, until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                connection, _ = await asyncio.get_running_loop().sock_accept(self._listening)
                tasks.create_task(self._play(connection))

    async def _play(self, connection: socket.socket) -> None:
        with connection:
            peer = RawPeer(connection, is_server=True)
            request = await peer.until(b"\r\n\r\n")
            asked = MODEL.search(request)
            assert asked is not None
            case, is_bytewise = CASES[int(asked[1])], asked[2] == b"1"
            if is_bytewise:
                await peer.say(acceptance(request))
            else:  # frames begin in the segment in which the handshake ends
                case = replace(case, sent=acceptance(request) + case.sent)
            told = await peer.play(case, is_bytewise=is_bytewise)
            self.heard[asked[0]].set_result(told)


Results = Mapping[tuple[str, str, str], tuple[Outcome, int | None]]


async def play_all() -> Results:
    """Each case, in each way, to the gateway and to the library."""
    results: dict[tuple[str, str, str], tuple[Outcome, int | None]] = {}
    places = asyncio.Semaphore(AT_ONCE)

    async def play(case: Case, way: str, who: str, url: str, raw: RawProvider) -> None:
        name = f"model=case-{CASES.index(case)}-{int(WAYS[way])}"
        told = raw.heard[name.encode()] = asyncio.get_running_loop().create_future()
        async with places:
            delivered, code = await hear(url + name)
            heard = await in_time(told, "it did not end")
        results[who, case.name, way] = Outcome(heard, tuple(delivered)), code

    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as other,
    ):
        behind, alone = RawProvider(one), RawProvider(other)
        serving = [asyncio.create_task(raw.serve()) for raw in (behind, alone)]
        async with beside(f"http://127.0.0.1:{one.getsockname()[1]}", **UNKEPT) as cluster:
            key = await asyncio.to_thread(cluster.create_account, "raw")
            gateway = f"{cluster.url}?rs_key={key}&", behind
            library = f"ws://127.0.0.1:{other.getsockname()[1]}/?", alone
            async with asyncio.TaskGroup() as tasks:
                for case, way in product(CASES, WAYS):
                    tasks.create_task(play(case, way, "gateway", *gateway))
                    tasks.create_task(play(case, way, "library", *library))
            assert await asyncio.to_thread(cluster.gateways[0].complaints) == []
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
    return results


async def hear(url: str) -> tuple[list[str | bytes], int | None]:
    """What an honest client hears, up to the gateway's own words, and its close code."""
    delivered: list[str | bytes] = []
    async with connect(url, max_size=MESSAGE_BYTES_MAX, compression=None) as client:
        try:
            while True:
                delivered.append(await asyncio.wait_for(client.recv(), SECONDS))
        except (ConnectionClosed, TimeoutError):
            pass
    own = [at for at, said in enumerate(delivered) if isinstance(said, str) and "error" in said]
    return delivered[: own[0] if own else None], client.close_code


@pytest.fixture(scope="module")
def results() -> Results:
    """All cases, played once."""
    return asyncio.run(play_all())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_provider_is_answered_as_the_library_answers(
    results: Results, case: Case, way: str
) -> None:
    """As the table says, and its client is closed with the provider's code where that is one."""
    ours, code = results["gateway", case.name, way]
    theirs, _ = results["library", case.name, way]
    answered(case, ours, theirs)
    assert code == code_for_client(case)


def code_for_client(case: Case) -> int:
    """The provider's; ours where it broke off or the protocol; none where the client refused."""
    if case.why == PASSED:
        return 1006
    closed = re.search(r"(?:^|, )close(?: (\d+))?", case.heard)
    is_wrong = closed is None or case.heard.endswith("*")
    return 1011 if is_wrong else int(closed[1] or 1005)


def test_the_table_is_whole() -> None:
    """There are the cases that the issue asks for, twice."""
    is_whole(CASES, at_least=40)
