"""Pings are answered while what a peer says must wait."""

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

from gateway.connections.connection import ABNORMAL, CloseEvent, Connection, Discard
from gateway.frames import Frame
from gateway.limits import RECEIVE_QUEUE_BYTES_MAX
from tests.support.fake_provider import scripted
from tests.support.peers import masked, until, upgraded

SECONDS = 10
PONG = b"\x8a\x00"


@dataclass
class Held:
    """A connection whose peer is held, what it was given, and the peer."""

    connection: Connection
    peer: socket.socket
    frames: list[bytes] = field(default_factory=list)
    endings: list[CloseEvent] = field(default_factory=list)
    holds_after: int = -1

    def frames_received(self, frames: Sequence[Frame]) -> None:
        """See ``Sink``."""
        self.frames += [frame.raw for frame in frames]
        if len(self.frames) == self.holds_after:
            self.connection.pause_reading()

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
async def held() -> AsyncIterator[Held]:
    """A connection whose peer is held."""
    async with upgraded(Discard()) as (connection, peer):
        connection.sink = found = Held(connection, peer)
        connection.hold()
        yield found


async def test_a_held_peer_hears_pongs_and_its_frames_wait_in_order(held: Held) -> None:
    """A fragmented message with a ping inside goes on whole, once it may."""
    frames = [masked(0x01, b"one"), masked(0x00, b"two"), masked(0x80, b"three"), masked(0x81)]
    for frame in frames:
        await held.send(frame)
        assert await held.ping() == PONG
    assert held.frames == []
    held.connection.let_go()
    assert held.frames == frames
    await held.send(masked(0x81, b"more"))
    assert await held.ping() == PONG
    assert held.frames == [*frames, masked(0x81, b"more")]


async def test_a_close_comes_after_what_was_said_before_it(held: Held) -> None:
    """And what follows a close does not count."""
    await held.send(masked(0x81, b"last words"))
    assert await held.ping() == PONG
    await held.send(masked(0x88, b"\x03\xe8bye") + masked(0x81, b"late"))
    await until(lambda: held.connection._parked.has_close)
    assert (held.frames, held.endings) == ([], [])
    held.connection.let_go()
    assert (held.frames, held.endings) == ([masked(0x81, b"last words")], [CloseEvent(1000, "bye")])


@pytest.mark.parametrize("is_held", [False, True])
async def test_a_lost_peer_was_heard_before_unless_it_was_held(held: Held, is_held: bool) -> None:
    """Usage that has arrived counts; what a held client asked for is not passed on any more."""
    held.connection.pause_reading()
    if not is_held:
        held.connection.let_go()
    await held.send(masked(0x81, b"usage"))
    assert await held.ping() == PONG
    held.peer.shutdown(socket.SHUT_WR)
    await until(lambda: held.endings)
    assert held.frames == ([] if is_held else [masked(0x81, b"usage")])
    assert [ended.code for ended in held.endings] == [ABNORMAL]


async def test_what_is_parked_is_bounded(held: Held) -> None:
    """Past the bound TCP holds the rest back; all of it arrives later, and is read in order."""
    piece = b"\x82\xfe" + (60_000).to_bytes(2, "big") + b"\0\0\0\0" + bytes(60_000)
    sending = asyncio.create_task(held.send(piece * 400))
    await until(lambda: not held.connection._is_reading)
    assert len(held.connection._parked) * 60_000 < RECEIVE_QUEUE_BYTES_MAX + 2**20
    held.connection.let_go()
    await until(lambda: len(held.frames) == 400)
    await sending
    assert set(held.frames) == {piece}


async def test_tiny_frames_are_bounded_too(held: Held) -> None:
    """A frame without a payload costs more than its bytes."""
    sending = asyncio.create_task(held.send(masked(0x82) * 200_000))
    await until(lambda: not held.connection._is_reading)
    assert len(held.connection._parked) < 60_000
    held.connection.let_go()
    await until(lambda: len(held.frames) == 200_000)
    await sending


async def test_who_is_held_again_while_it_is_let_go_keeps_the_rest(held: Held) -> None:
    """The other connection is full after the first of three frames."""
    frames = [masked(0x81, b"%d" % n) for n in range(3)]
    await held.send(b"".join(frames))
    assert await held.ping() == PONG
    held.holds_after = 1
    held.connection.let_go()
    assert held.frames == frames[:1]
    held.connection.resume_reading()
    assert held.frames == frames


@pytest.mark.parametrize("seed", range(20))
async def test_every_frame_arrives_once_and_in_order(held: Held, seed: int) -> None:
    """However it is cut, and whenever the peer is held, paused and let go."""
    chance = random.Random(seed)
    sent = [masked(0x82, b"%d" % n) for n in range(200)]
    data = b"".join(f + (masked(0x8A) if chance.random() < 0.2 else b"") for f in sent)
    actions = (
        held.connection.hold,
        held.connection.let_go,
        held.connection.pause_reading,
        held.connection.resume_reading,
    )
    while data:
        size = chance.randrange(1, 60)
        await held.send(data[:size])
        data = data[size:]
        chance.choice(actions)()
        if chance.random() < 0.5:
            await asyncio.sleep(0)
    held.connection.let_go()
    held.connection.resume_reading()
    await until(lambda: len(held.frames) == len(sent))
    assert held.frames == sent


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
