"""One connection on a real socket whose peer misbehaves."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest
from websockets.http11 import Request

from gateway import build
from gateway.connections.close import ABNORMAL_CLOSURE, CloseEvent
from gateway.connections.connection import Connection
from gateway.connections.downstream import Downstream, RequestPhase
from gateway.connections.held_bytes import QUEUED, UNFINISHED
from gateway.connections.receive_queue import Pause
from gateway.connections.sink import SequenceSink
from gateway.frames import Frame
from gateway.http.answers import response
from gateway.http.exchange import HttpRequest
from gateway.http.refusals import Refusal
from gateway.limits import (
    ANSWER_BYTES_PER_S,
    ANSWER_READ_S,
    CLOSE_S,
    FRAMES_A_TURN,
    IDLE_S,
    LEFTOVER_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    PING_S,
    PRE_OPEN_BYTES_MAX,
    RECEIVE_QUEUE_BYTES_MAX,
    RECEIVE_QUEUE_FRAME_BYTES,
    STALLED_S,
    WRITE_HIGH_WATER_BYTES,
)
from tests.support.harness import eventually
from tests.support.peers import masked, until, upgraded
from tests.support.written_bytes import WrittenBytes

SECONDS = 10


@dataclass
class Recorded(SequenceSink):
    """A sink that keeps what it is given."""

    frames: list[Frame] = field(default_factory=list)
    endings: list[CloseEvent] = field(default_factory=list)

    def frames_received(self, frames: Sequence[Frame]) -> None:
        """Keep the frames."""
        self.frames += frames

    def connection_closed(self, close: CloseEvent) -> None:
        """Keep the ending."""
        self.endings.append(close)


@dataclass
class Pair:
    """A connection, its sink, and the peer's end of the connection."""

    connection: Connection
    sink: Recorded
    peer: socket.socket

    @property
    def transport(self) -> asyncio.Transport:
        """The connection's transport."""
        assert self.connection._transport is not None
        return self.connection._transport

    async def receive(self, size: int) -> bytes:
        """Exactly so many bytes as the peer reads them."""
        loop, data = asyncio.get_running_loop(), b""
        while len(data) < size:
            piece = await asyncio.wait_for(loop.sock_recv(self.peer, size - len(data)), SECONDS)
            assert piece, "the connection closed"
            data += piece
        return data

    async def send(self, data: bytes) -> None:
        """Bytes from the peer."""
        await asyncio.get_running_loop().sock_sendall(self.peer, data)

    def fill(self, size: int = 0) -> None:
        """Write audio until the kernel takes no more and ``size`` bytes wait in the connection."""
        while self.transport.get_write_buffer_size() <= size:
            self.connection.write([audio()])


def audio(size: int = 60_000) -> Frame:
    """A binary frame as a provider sends it."""
    return Frame(2, True, 4, b"\x82\x7e" + size.to_bytes(2, "big") + bytes(size))


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """A connection, its sink, and its peer."""
    sink = Recorded()
    async with upgraded(sink) as (connection, peer):
        yield Pair(connection, sink, peer)


async def test_frames_arrive_as_they_were_sent(pair: Pair) -> None:
    """The sink gets whole frames with their mask, in order."""
    await pair.send(masked(0x81, b"one") + masked(0x82, b"two")[:4])
    await until(lambda: len(pair.sink.frames) == 1)
    await pair.send(masked(0x82, b"two")[4:])
    await until(lambda: len(pair.sink.frames) == 2)
    assert [f.raw for f in pair.sink.frames] == [masked(0x81, b"one"), masked(0x82, b"two")]


async def test_the_end_of_the_peers_bytes_is_the_end_of_the_connection(pair: Pair) -> None:
    """Also while unsent bytes keep the transport alive: nothing may be written after that."""
    pair.fill()
    pair.peer.shutdown(socket.SHUT_WR)
    await until(lambda: pair.sink.endings)
    assert pair.transport.get_write_buffer_size() > 0, "the transport outlives the connection"
    assert not pair.connection.is_open
    assert [ended.code == ABNORMAL_CLOSURE for ended in pair.sink.endings] == [True]


async def test_a_close_is_answered_and_ends_the_connection_once(pair: Pair) -> None:
    """The peer's code is echoed, the sink is called once, and later frames are ignored."""
    await pair.send(masked(0x88, b"\x03\xe8bye") + masked(0x81, b"late"))
    assert await pair.receive(7) == b"\x88\x05\x03\xe8bye"
    await until(lambda: pair.connection._transport is None or pair.transport.is_closing())
    pair.peer.close()
    await until(lambda: pair.connection._transport is None)
    assert pair.sink.endings == [CloseEvent(1000, "bye")]
    assert pair.sink.frames == []


async def test_a_stalled_reader_pauses_the_feeder_and_nothing_is_lost(pair: Pair) -> None:
    """Past the high-water mark the other connection is not read; it is again when there is room."""
    feeder = Connection(expects_mask=True, sink=Recorded())
    left, right = socket.socketpair()
    await asyncio.get_running_loop().create_connection(lambda: feeder, sock=left)
    pair.connection.feeder = feeder
    pair.fill(WRITE_HIGH_WATER_BYTES)
    written = pair.transport.get_write_buffer_size()
    assert feeder._received.paused
    assert written <= WRITE_HIGH_WATER_BYTES + 2 * len(audio().raw)
    loop = asyncio.get_running_loop()
    while feeder._received.paused:
        await asyncio.wait_for(loop.sock_recv(pair.peer, 65_536), SECONDS)
    assert not pair.connection.is_write_paused
    pair.connection.feeder = None
    right.close()
    await until(lambda: feeder._transport is None)


async def test_pings_of_a_peer_that_does_not_read_are_not_collected(pair: Pair) -> None:
    """A ping flood without reading costs one held pong, not memory."""
    pair.fill(WRITE_HIGH_WATER_BYTES)
    before = pair.transport.get_write_buffer_size()
    for number in range(2_000):
        await pair.send(masked(0x89, b"%04d" % number))
    await until(lambda: pair.connection._unsent_pong.endswith(b"1999"))
    assert pair.transport.get_write_buffer_size() == before


async def test_a_peer_that_takes_nothing_is_cut(pair: Pair) -> None:
    """After the deadline a stalled peer is lost, however much it sends."""
    loop = asyncio.get_running_loop()
    before = loop.time()
    pair.fill(WRITE_HIGH_WATER_BYTES)
    pair.connection.check(before + STALLED_S - 1)
    assert pair.sink.endings == []
    pair.connection.check(loop.time() + STALLED_S + 1)
    assert [ended.code == ABNORMAL_CLOSURE for ended in pair.sink.endings] == [True]


async def test_a_quiet_peer_is_pinged_and_a_silent_one_is_cut(pair: Pair) -> None:
    """A pong keeps a quiet peer; one that sends no byte at all is lost after the deadline."""
    loop = asyncio.get_running_loop()
    before = loop.time()
    await pair.send(masked(0x81, b"last words"))
    await until(lambda: pair.sink.frames)
    pair.connection.check(loop.time())  # as every second: from here on the peer is quiet
    pair.connection.check(loop.time() + PING_S + 1)
    assert await pair.receive(2) == b"\x89\x00"
    pair.connection.check(before + IDLE_S - 1)
    assert pair.sink.endings == []
    pair.connection.check(loop.time() + IDLE_S + 1)
    assert [ended.code == ABNORMAL_CLOSURE for ended in pair.sink.endings] == [True]


async def test_our_event_never_tears_a_message(pair: Pair) -> None:
    """Inside a fragmented message an event of our own is left out."""
    pair.connection.write([Frame(1, False, 2, b"\x01\x01a")])
    pair.connection.send_event(b"{}")
    pair.connection.write([Frame(0, True, 2, b"\x80\x01b")])
    pair.connection.send_event(b"{}")
    assert await pair.receive(10) == b"\x01\x01a" + b"\x80\x01b" + b"\x81\x02{}"


@pytest.mark.skipif(build.is_compiled(), reason="CLOSE_S is compiled in: it would be the usual one")
async def test_an_unanswered_close_is_cut(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that does not answer a close frame does not keep the connection."""
    monkeypatch.setattr("gateway.connections.connection.CLOSE_S", 0.05)
    pair.connection.close(1001, "going")
    assert await pair.receive(9) == b"\x88\x07\x03\xe9going"
    await until(lambda: pair.connection._transport is None)
    assert [ended.code == ABNORMAL_CLOSURE for ended in pair.sink.endings] == [True]


class Clock:
    """A loop's time that goes on when the test says so."""

    def __init__(self, now: float) -> None:
        self.now = now

    def time(self) -> float:
        """Instead of the loop's."""
        return self.now

    async def advance(self, seconds: float) -> None:
        """Let time pass, and the loop call what is due then."""
        self.now += seconds
        for _ in range(3):
            await asyncio.sleep(0)


class IgnoringHandler:
    """A handler that decides nothing."""

    def handshake_received(self, connection: Downstream, request: Request) -> None:
        """Not called: no handshake is sent."""

    def unreadable_received(self, connection: Downstream, refusal: Refusal) -> None:
        """See ``ConnectionHandler``."""
        connection.answer(refusal.response())

    def request_received(self, connection: Downstream, request: HttpRequest) -> None:
        """Not called: no request is sent."""

    def connection_closed(self, connection: Downstream) -> None:
        """Nothing is to be done."""


def small_reader() -> tuple[socket.socket, socket.socket]:
    """A client whose kernel takes little before it reads, and our end of its connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.socket()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.connect(listener.getsockname())
        ours, _ = listener.accept()
    peer.setblocking(False)
    return peer, ours


@pytest.mark.parametrize("reads", [True, False])
async def test_an_answer_has_as_long_as_it_is_taken(
    monkeypatch: pytest.MonkeyPatch, reads: bool
) -> None:
    """A slow client gets a long answer whole; one that takes nothing for a while is cut off."""
    loop, content = asyncio.get_running_loop(), bytes(2_000_000)
    clock = Clock(loop.time())
    monkeypatch.setattr(loop, "time", clock.time)
    peer, ours = small_reader()
    connection = Downstream(IgnoringHandler())
    with peer:
        await loop.create_connection(lambda: connection, sock=ours)
        connection.answer(response(200, content, "text/plain"))
        taken, began = 0, clock.now
        while connection._transport is not None:
            unsent = connection._transport.get_write_buffer_size()
            if reads and unsent:  # some of it is taken in every step
                while connection._transport.get_write_buffer_size() == unsent:
                    taken += len(await loop.sock_recv(peer, 2**20))
                    await asyncio.sleep(0)
            await clock.advance(CLOSE_S)
            connection.check(clock.now)
            assert reads or clock.now - began < STALLED_S + 3 * CLOSE_S, "it is cut off"
        if reads:
            assert clock.now - began > 3 * STALLED_S, "slower than the bound, but never still"
            while piece := await loop.sock_recv(peer, 2**20):
                taken += len(piece)
    assert (taken > len(content)) is reads


async def test_an_answer_is_read_within_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that takes a little of it now and then is cut in the end, with a reset."""
    loop = asyncio.get_running_loop()
    clock = Clock(loop.time())
    monkeypatch.setattr(loop, "time", clock.time)
    peer, ours = small_reader()
    connection = Downstream(IgnoringHandler())
    with peer:
        await loop.create_connection(lambda: connection, sock=ours)
        connection.answer(response(200, bytes(200_000), "text/plain"))
        began = clock.now
        while (transport := connection._transport) is not None:
            unsent = transport.get_write_buffer_size()
            while connection._transport is not None and transport.get_write_buffer_size() == unsent:
                await loop.sock_recv(peer, 2**10)
                await asyncio.sleep(0)
            for _ in range(int(STALLED_S / CLOSE_S) - 1):  # not so long that it seems to be gone
                await clock.advance(CLOSE_S)
                connection.check(clock.now)
        whole_s = ANSWER_READ_S + 200_000 / ANSWER_BYTES_PER_S
        assert STALLED_S < clock.now - began < whole_s + STALLED_S
        with pytest.raises(ConnectionResetError):
            while await loop.sock_recv(peer, 2**20):
                pass


async def flooded(data: bytes) -> tuple[Downstream, Recorded, WrittenBytes]:
    """A client's connection on which ``data`` has come in one read."""
    sink, transport = Recorded(), WrittenBytes()
    client = Downstream(IgnoringHandler())
    client.connection_made(transport)
    client._move(RequestPhase.ADMISSION)
    client.upgrade(b"")
    client.sink = sink
    client.start_reading()
    client.data_received(data)
    return client, sink, transport


FLOODS = [
    # what comes, how often; frames for the sink
    (masked(0x89), 0),
    (masked(0x81, b"x"), 1),
    (masked(0x01, b"x") + masked(0x80, b"x"), 2),
]


@pytest.mark.parametrize(("piece", "each"), FLOODS)
@pytest.mark.parametrize("is_lost", [False, True])
async def test_a_flood_of_small_frames_has_its_turn_with_others(
    piece: bytes, each: int, is_lost: bool
) -> None:
    """Of one read so many frames are looked at, then others are served; all come, in the end, also
    of a client that is gone meanwhile.
    """
    count = 10 * FRAMES_A_TURN
    client, sink, transport = await flooded(piece * count)
    first = len(sink.frames) + transport.written.count(masked_pong())
    assert first == FRAMES_A_TURN
    assert not client._is_reading
    if is_lost:
        client.connection_lost(None)
        await until(lambda: sink.endings)
    await until(lambda: len(sink.frames) == count * each)
    if is_lost:
        return
    await until(lambda: client._is_reading)
    assert transport.written.count(masked_pong()) == (0 if each else count)
    client._handshake_timer = None


def masked_pong() -> bytes:
    """An empty pong of ours, which has no mask."""
    return b"\x8a\x00"


async def test_a_flood_waits_while_its_session_does() -> None:
    """Frames that are here and not looked at do not fill a queue that is full."""
    client, sink, _ = await flooded(b"")
    client.pause(Pause.CREDIT)
    piece = masked(0x81, bytes(100))
    count = 2 * RECEIVE_QUEUE_BYTES_MAX // (len(piece) + RECEIVE_QUEUE_FRAME_BYTES)
    for _ in range(8):
        client.data_received(piece * (count // 8))
    await until(lambda: client._turn is None)
    assert RECEIVE_QUEUE_BYTES_MAX // 4 < client._received._bytes < RECEIVE_QUEUE_BYTES_MAX * 1.2
    assert sink.frames == []
    client.resume(Pause.CREDIT)
    await until(lambda: len(sink.frames) == 8 * (count // 8))


@pytest.fixture
def nothing_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever other tests of this process have left."""
    for held in (QUEUED, UNFINISHED):
        for name, value in vars(type(held)()).items():
            monkeypatch.setattr(held, name, value)


@pytest.mark.usefixtures("nothing_held")
async def test_what_follows_our_close_is_not_kept() -> None:
    """A client that goes on with a long message after it is not collected; its close is found."""
    client, sink, transport = await flooded(masked_head(2**20) + bytes(300_000))
    assert UNFINISHED.total == 300_000 + 14
    client.close(1008, "no")
    assert UNFINISHED.total == client._scanner.pending_bytes == 0
    client.data_received(bytes(2**20 - 300_000) + masked(0x88, b"\x03\xf0"))
    assert [ended.code for ended in sink.endings] == [1008]
    assert sink.frames == []
    assert transport.written.endswith(b"<end>")


@pytest.mark.usefixtures("nothing_held")
async def test_the_long_message_that_began_first_gives_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its client is told to try again later, and nothing of it is kept."""
    monkeypatch.setattr("gateway.connections.held_bytes.UNFINISHED_BYTES_MAX", 500_000)
    clients = [await flooded(masked_head(2**20) + bytes(200_000)) for _ in range(2)]
    assert not any(sink.endings for _, sink, _ in clients)
    clients.append(await flooded(masked_head(2**20) + bytes(200_000)))
    assert [[ended.code for ended in sink.endings] for _, sink, _ in clients] == [[1013], [], []]
    assert clients[0][0]._scanner.pending_bytes == 0
    for client, _, _ in clients:
        client.connection_lost(None)
    assert UNFINISHED.total == 0


@pytest.mark.usefixtures("nothing_held")
async def test_nobody_who_waits_is_read_while_all_hold_too_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each within its own bound; one that goes on lets the others go on."""
    monkeypatch.setattr("gateway.connections.held_bytes.RECEIVE_QUEUES_BYTES_MAX", 100_000)
    monkeypatch.setattr("gateway.connections.held_bytes.RECEIVE_QUEUES_BYTES_LOW", 80_000)
    clients = [(await flooded(b""))[0] for _ in range(3)]
    for client in clients:
        client.pause(Pause.SETUP)
    piece = masked(0x81, bytes(100)) * 60
    clients[0].data_received(piece * 3)
    await until(lambda: clients[0]._turn is None)
    clients[1].data_received(piece * 3)
    await until(lambda: QUEUED.total > 100_000)
    assert [client._is_reading for client in clients] == [False] * 3
    clients[0].resume(Pause.SETUP)
    await until(lambda: all(client._is_reading for client in clients))
    for client in clients:
        client.connection_lost(None)
    assert QUEUED.total == 0


def masked_head(size: int) -> bytes:
    """The beginning of a long binary frame of a client, with a mask of zeros."""
    return b"\x82\xff" + size.to_bytes(8, "big") + bytes(4)


async def test_what_comes_behind_a_refusal_has_an_end() -> None:
    """It is read for a while, so that the client sees its answer, and then the client is cut."""
    transport = WrittenBytes()
    client = Downstream(IgnoringHandler())
    client.connection_made(transport)
    client.answer(response(400, b"no", "text/plain"))
    for _ in range(LEFTOVER_BYTES_MAX // 65_536):
        client.data_received(bytes(65_536))
    assert b"<cut>" not in transport.written
    client.data_received(b"x")
    assert transport.written.endswith(b"<cut>")
    client.connection_lost(None)


async def test_a_frame_of_a_client_without_a_provider_is_read_in_part() -> None:
    """Its bytes are held in memory like whole frames; when there is a provider the rest is read."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    peer.setblocking(False)
    loop = asyncio.get_running_loop()
    sink = Recorded()
    connection = Connection(expects_mask=True, sink=sink)
    size = 8 * 2**20
    message = b"\x82\xff" + size.to_bytes(8, "big") + bytes(4 + size)
    with peer:
        await loop.create_connection(connection.as_protocol, sock=ours)
        connection.partial_max = PRE_OPEN_BYTES_MAX
        sending = asyncio.create_task(loop.sock_sendall(peer, message))
        await until(lambda: not connection._is_reading)
        assert connection._scanner.pending_bytes < PRE_OPEN_BYTES_MAX + 2**19
        assert not sink.frames
        connection.partial_max = MESSAGE_BYTES_MAX
        connection.resume(Pause.PRE_OPEN)
        await sending
        await until(lambda: sink.frames)
        assert sink.frames[0].raw == message
        connection.abort()


def test_a_deadline_that_passes_is_reported() -> None:
    """The tests' own waiting can fail."""
    with pytest.raises(AssertionError, match="not within"):
        eventually(lambda: False, seconds=0.05)
