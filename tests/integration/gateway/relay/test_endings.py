"""Every way in which a session can end, with a provider that does exactly what the test says."""

import asyncio
import contextlib
import json
import socket

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from gateway.limits import CLOSE_S
from tests.support.fake_provider import UNKEPT, reset_when_closed, scripted
from tests.support.harness import Cluster, eventually, lines_of
from tests.support.openai_events import audio, client, created, done, rows
from tests.support.peers import masked


async def test_a_response_that_was_asked_for_and_not_announced_is_awaited() -> None:
    """The client leaves between its request and the provider's answer: the usage is charged."""
    asked = asyncio.Event()

    async def script(provider: ServerConnection) -> None:
        async for text in provider:
            event = json.loads(text)
            if event["type"] == "response.create":
                asked.set()
            elif event["type"] == "response.cancel":
                await asyncio.sleep(0.3)
                await provider.send(created())
                await provider.send(done())

    async with scripted(script) as cluster:
        socket_ = await client(cluster)
        await socket_.send('{"type":"response.create"}')
        await asked.wait()
        socket_.transport.abort()
        (row,) = await rows(cluster, 1)
    assert (row["kind"], row["total_tokens"]) == ("response", 15)


async def test_nothing_under_way_ends_at_once() -> None:
    """The provider says that there is nothing to cancel, and its connection is closed."""
    closed = asyncio.Event()

    async def script(provider: ServerConnection) -> None:
        await provider.send("hello")
        async for text in provider:
            cancel = {"type": "response.cancel", "event_id": "event_rts_cancel"}
            assert json.loads(text) == cancel
            error = {"type": "error", "error": {"code": "response_cancel_not_active"}}
            await provider.send(json.dumps(error))
        closed.set()

    async with scripted(script) as cluster:
        socket_ = await client(cluster)
        await socket_.recv()
        began = asyncio.get_running_loop().time()
        await socket_.close()
        await asyncio.wait_for(closed.wait(), 10)
        assert asyncio.get_running_loop().time() - began < CLOSE_S, "it waits for no deadline"


async def test_an_open_fragment_does_not_keep_a_response_from_being_cancelled() -> None:
    """A client that leaves in the middle of a message is cancelled, and charged, like any other."""
    cancelled = asyncio.Event()

    async def script(provider: ServerConnection) -> None:
        await provider.send(created())
        async for text in provider:
            if '"response.cancel"' in text:
                assert json.loads(text)["response_id"] == "resp_1"
                cancelled.set()
                await provider.send(done())

    async with scripted(script) as cluster:
        socket_ = await client(cluster)
        await socket_.recv()
        await socket_.ping()
        socket_.transport.write(masked(0x01, b'{"type":'))
        await asyncio.sleep(0.2)
        socket_.transport.abort()
        await asyncio.wait_for(cancelled.wait(), 10)
        (row,) = await rows(cluster, 1)
    assert row["total_tokens"] == 15


async def test_a_provider_that_breaks_off_mid_response_leaves_an_estimate() -> None:
    """What it had metered is charged, what it never reported is estimated."""

    async def script(provider: ServerConnection) -> None:
        await provider.send(created("resp_1"))
        await provider.send(done("resp_1"))
        await provider.send(created("resp_2"))
        await provider.send(audio(1.0))
        await provider.recv()
        provider.transport.abort()

    async with scripted(script, **UNKEPT) as cluster:
        socket_ = await client(cluster)
        await socket_.send('{"type":"x"}')
        with pytest.raises(ConnectionClosed):
            while True:
                event = json.loads(await socket_.recv())
        assert event["error"]["code"] == "provider_connection_lost"
        assert socket_.close_code == 1011
        found = await rows(cluster, 2)
    assert {(row["kind"], row["response_ids"][0]) for row in found} == {
        ("response", "resp_1"), ("estimate", "resp_2"),
    }  # fmt: skip


async def test_a_provider_whose_close_is_none_is_explained() -> None:
    """A code that may not be on the wire is the provider's fault, and not its client's."""
    closes = [
        b"\x88\x02\x03\xed",
        b"\x88\x02\x03\xe7",
        b"\x88\x01\x03",
        b"\x88\x04\x03\xe8\xff\xfe",
    ]
    coming = iter(closes)

    async def script(provider: ServerConnection) -> None:
        await provider.recv()
        provider.transport.write(next(coming))
        await provider.wait_closed()

    async with scripted(script, **UNKEPT) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "acct")
        for close in closes:
            async with connect(f"{cluster.url}?model=gpt-realtime&rs_key={key}") as socket_:
                await socket_.send('{"type":"x"}')
                event = json.loads(await asyncio.wait_for(socket_.recv(), 10))
                with pytest.raises(ConnectionClosed):
                    await socket_.recv()
            assert event["error"]["code"] == "provider_connection_lost", close
            assert socket_.close_code == 1011, close


async def test_a_client_that_resets_its_connection_is_no_complaint(cluster: Cluster) -> None:
    """Networks break: that is worth a line that says so in plain words, and not a warning."""
    socket_ = await client(cluster)
    reset_when_closed(socket_.transport.get_extra_info("socket"))
    socket_.transport.abort()
    log = cluster.gateways[0].log
    reset = 'code=1006 reason="Connection reset by peer"'
    await asyncio.to_thread(
        eventually, lambda: any("client left" in x and reset in x for x in lines_of(log))
    )
    assert cluster.gateways[0].complaints() == []


PIPELINED = [
    (b"\x88\x80mask", "a close"),
    (b"\x83\x80mask", "a bad opcode"),
    (b"\x81\x02hi", "an unmasked frame"),
]


@pytest.mark.parametrize(("frame", "what"), PIPELINED)
def test_a_client_may_end_with_its_first_bytes(cluster: Cluster, frame: bytes, what: str) -> None:
    """Frames in the same segment as the handshake are frames; ending there is no accident."""
    name = f"ends-{frame[0]}"
    key = cluster.create_account(name)
    host, port = cluster.address.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(
            f"GET /v1/realtime?model=m&rs_sessid={name}&rs_key={key} HTTP/1.1\r\nHost: x\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
            + frame
        )
        while raw.recv(65_536):
            pass
    log = cluster.gateways[0].log
    eventually(lambda: any(name in x and "session ended" in x for x in lines_of(log)))
    assert cluster.gateways[0].complaints() == [], what


async def test_a_repeated_header_is_no_reason_to_fail() -> None:
    """The provider gets the first of two safety identifiers."""
    seen: list[list[str]] = []

    async def script(provider: ServerConnection) -> None:
        assert provider.request is not None
        seen.append(provider.request.headers.get_all("OpenAI-Safety-Identifier"))
        await provider.send("hello")
        await provider.wait_closed()  # a provider that leaves is dialled again

    async with scripted(script) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "acct")
        headers = [("OpenAI-Safety-Identifier", "a"), ("OpenAI-Safety-Identifier", "b")]
        url = f"{cluster.url}?model=m&rs_key={key}"
        async with connect(url, additional_headers=headers) as socket_:
            assert await socket_.recv() == "hello"
    assert seen == [["a"]]


async def test_who_plays_what_was_said_still_hears_how_it_ended() -> None:
    """A client that talks, and reads no faster than it plays, comes to the close after a while."""
    chunks = 160

    async def script(provider: ServerConnection) -> None:
        await provider.recv()
        for _ in range(chunks):
            await provider.send(audio(0.25))
        await provider.send(json.dumps({"type": "error", "error": {"code": "session_expired"}}))
        await provider.close(1001, "session is over")

    async with scripted(script, **UNKEPT) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "acct")
        host, port = cluster.address.split(":")
        tcp = socket.socket()
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        tcp.connect((host, int(port)))
        url = f"{cluster.url}?model=gpt-realtime&rs_key={key}"
        socket_ = await connect(url, sock=tcp, max_queue=2, ping_interval=None)
        speaking = asyncio.create_task(speak(socket_))
        heard: list[str] = []
        with pytest.raises(ConnectionClosed):
            while True:
                heard.append(json.loads(await socket_.recv())["type"])
                await asyncio.sleep(0.05)  # it plays: eight seconds, longer than a close may take
        await speaking
    assert heard == ["response.output_audio.delta"] * chunks + ["error"]
    assert (socket_.close_code, socket_.close_reason) == (1001, "session is over")


async def speak(client_: ClientConnection) -> None:
    """Talk until the connection is closed."""
    append = json.dumps({"type": "input_audio_buffer.append", "audio": "A" * 3_200})
    with contextlib.suppress(ConnectionClosed):
        while True:
            await client_.send(append)
            await asyncio.sleep(0.05)
