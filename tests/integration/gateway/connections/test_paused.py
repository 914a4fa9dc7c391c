"""Pings are answered while the sink of a connection is paused."""

import asyncio
import json
import random
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from gateway.connections.close import ABNORMAL_CLOSURE, CloseEvent
from gateway.connections.connection import Connection
from gateway.connections.receive_queue import Pause
from gateway.connections.sink import Discard, SequenceSink
from gateway.frames import Frame
from gateway.limits import RECEIVE_QUEUE_BYTES_MAX
from tests.support.fake_provider import scripted
from tests.support.peers import masked, until, upgraded

SECONDS = 10
PONG = b"\x8a\x00"


@dataclass
class Paused(SequenceSink):
    """A paused connection, what its sink was given, and the peer."""

    connection: Connection
    peer: socket.socket
    frames: list[bytes] = field(default_factory=list)
    endings: list[CloseEvent] = field(default_factory=list)
    pauses_after: int = -1

    def frames_received(self, frames: Sequence[Frame]) -> None:
        """See ``Sink``."""
        self.frames += [frame.raw for frame in frames]
        if len(self.frames) == self.pauses_after:
            self.connection.pause(Pause.BACKPRESSURE)

    def connection_closed(self, close: CloseEvent) -> None:
        """See ``Sink``."""
        self.endings.append(close)

    async def send(self, data: bytes) -> None:
        """Bytes from the peer."""
        await asyncio.get_running_loop().sock_sendall(self.peer, data)

    async def ping(self) -> bytes:
        """What answers a ping of the peer, once all before it was read."""
        await self.send(masked(0x89))
        loop = asyncio.get_running_loop()
        return await asyncio.wait_for(loop.sock_recv(self.peer, 2), SECONDS)


@pytest.fixture
async def paused() -> AsyncIterator[Paused]:
    """A connection that is paused until the credit is known."""
    async with upgraded(Discard()) as (connection, peer):
        connection.sink = found = Paused(connection, peer)
        connection.pause(Pause.CREDIT)
        yield found


async def test_a_paused_peer_gets_pongs_and_its_frames_wait_in_order(paused: Paused) -> None:
    """A fragmented message with pings inside arrives whole after the pause."""
    frames = [masked(0x01, b"one"), masked(0x00, b"two"), masked(0x80, b"three"), masked(0x81)]
    for frame in frames:
        await paused.send(frame)
        assert await paused.ping() == PONG
    assert paused.frames == []
    paused.connection.resume(Pause.CREDIT)
    assert paused.frames == frames
    await paused.send(masked(0x81, b"more"))
    assert await paused.ping() == PONG
    assert paused.frames == [*frames, masked(0x81, b"more")]


async def test_a_close_comes_after_what_was_said_before_it(paused: Paused) -> None:
    """And what follows a close does not count."""
    await paused.send(masked(0x81, b"last words"))
    assert await paused.ping() == PONG
    await paused.send(masked(0x88, b"\x03\xe8bye") + masked(0x81, b"late"))
    await until(lambda: paused.connection._received.is_over)
    assert (paused.frames, paused.endings) == ([], [])
    paused.connection.resume(Pause.CREDIT)
    assert (paused.frames, paused.endings) == (
        [masked(0x81, b"last words")],
        [CloseEvent(1000, "bye")],
    )


@pytest.mark.parametrize("is_withheld", [False, True])
async def test_frames_of_a_lost_peer_are_delivered_unless_withheld(
    paused: Paused, is_withheld: bool
) -> None:
    """Usage that has arrived counts; what waited for leave to be forwarded is dropped."""
    paused.connection.pause(Pause.BACKPRESSURE)
    if not is_withheld:
        paused.connection.resume(Pause.CREDIT)
    await paused.send(masked(0x81, b"usage"))
    assert await paused.ping() == PONG
    paused.peer.shutdown(socket.SHUT_WR)
    await until(lambda: paused.endings)
    assert paused.frames == ([] if is_withheld else [masked(0x81, b"usage")])
    assert [ended.code for ended in paused.endings] == [ABNORMAL_CLOSURE]


async def test_the_queue_is_bounded(paused: Paused) -> None:
    """Past the bound TCP holds the rest back; all of it arrives later, and is read in order."""
    piece = b"\x82\xfe" + (60_000).to_bytes(2, "big") + b"\0\0\0\0" + bytes(60_000)
    sending = asyncio.create_task(paused.send(piece * 400))
    await until(lambda: not paused.connection._is_reading)
    assert len(paused.connection._received) * 60_000 < RECEIVE_QUEUE_BYTES_MAX + 2**20
    paused.connection.resume(Pause.CREDIT)
    await until(lambda: len(paused.frames) == 400)
    await sending
    assert set(paused.frames) == {piece}


async def test_tiny_frames_are_bounded_too(paused: Paused) -> None:
    """A frame without a payload costs more than its bytes."""
    sending = asyncio.create_task(paused.send(masked(0x82) * 200_000))
    await until(lambda: not paused.connection._is_reading)
    assert len(paused.connection._received) < 60_000
    paused.connection.resume(Pause.CREDIT)
    await until(lambda: len(paused.frames) == 200_000)
    await sending


async def test_a_pause_while_the_queue_drains_keeps_the_rest(paused: Paused) -> None:
    """The other connection is full after the first of three frames."""
    frames = [masked(0x81, b"%d" % n) for n in range(3)]
    await paused.send(b"".join(frames))
    assert await paused.ping() == PONG
    paused.pauses_after = 1
    paused.connection.resume(Pause.CREDIT)
    assert paused.frames == frames[:1]
    paused.connection.resume(Pause.BACKPRESSURE)
    assert paused.frames == frames


@pytest.mark.parametrize("seed", range(20))
async def test_every_frame_arrives_once_and_in_order(paused: Paused, seed: int) -> None:
    """However the bytes are cut, and whenever the connection is paused and resumed."""
    chance = random.Random(seed)
    sent = [masked(0x82, b"%d" % n) for n in range(200)]
    data = b"".join(f + (masked(0x8A) if chance.random() < 0.2 else b"") for f in sent)
    actions = (
        lambda: paused.connection.pause(Pause.CREDIT),
        lambda: paused.connection.resume(Pause.CREDIT),
        lambda: paused.connection.pause(Pause.BACKPRESSURE),
        lambda: paused.connection.resume(Pause.BACKPRESSURE),
    )
    while data:
        size = chance.randrange(1, 60)
        await paused.send(data[:size])
        data = data[size:]
        chance.choice(actions)()
        if chance.random() < 0.5:
            await asyncio.sleep(0)
    paused.connection.resume(Pause.CREDIT)
    paused.connection.resume(Pause.BACKPRESSURE)
    await until(lambda: len(paused.frames) == len(sent))
    assert paused.frames == sent


async def test_a_client_that_pings_every_second_survives_a_provider_that_is_slow() -> None:
    """It says more than fits before its provider is there, and is answered all the time."""
    may_open, received = asyncio.Event(), asyncio.Event()
    heard: list[object] = []

    async def wait(_: ServerConnection, __: Request) -> Response | None:
        await may_open.wait()
        return None

    async def script(provider: ServerConnection) -> None:
        async for message in provider:
            heard.append(json.loads(message).get("n"))
            if len(heard) == len(said):
                received.set()

    said = [json.dumps({"type": "x", "n": n, "audio": "A" * 20_000}) for n in range(80)]
    async with scripted(script, answer=wait) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "acct")
        url = f"{cluster.url}?model=gpt-realtime&rs_key={key}"
        async with connect(url, ping_interval=1, ping_timeout=2) as client:
            for text in said:
                await client.send(text)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.wait_closed(), 6)
            may_open.set()
            await asyncio.wait_for(received.wait(), SECONDS)
    assert heard[: len(said)] == list(range(len(said)))
