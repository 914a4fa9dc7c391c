"""Clients of translated sessions that do not behave: what they cost, and whom they keep waiting."""

import asyncio
import json
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from tests.support.fake_provider import scripted
from tests.support.harness import Cluster, eventually
from tests.support.translated import (
    UPDATE,
    accept,
    closed,
    deserted,
    gemini_client,
    is_logged,
    openai_client,
    send,
    until,
)

# Between two tries to reach a provider.
FOR_A_MINUTE = {
    "gateway.relay.replacement.PAUSE_S": 60.0, "gateway.relay.replacement.PAUSE_S_MAX": 60,
}  # fmt: skip
APPEND = {"type": "input_audio_buffer.append", "audio": "AAAA" * 800}


def peak_mib(cluster: Cluster) -> int:
    """What the gateway had in memory at most."""
    status = Path(f"/proc/{cluster.gateways[0].process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


async def test_a_client_that_does_not_read_its_answers_is_not_heard() -> None:
    """Each tiny message is answered with the whole session. Unread answers are bounded: the next
    message waits for them, and is answered once they are read.
    """

    async def script(provider: ServerConnection) -> None:
        await accept(provider)
        await provider.wait_closed()

    updates = 2_000
    async with scripted(script) as cluster, await openai_client(cluster) as socket:
        session = {"type": "realtime", "instructions": "x" * 200_000}
        await send(socket, {"type": "session.update", "session": session})
        await until(socket, "session.updated")
        before = peak_mib(cluster)
        socket.transport.pause_reading()
        for _ in range(updates):
            await send(socket, UPDATE)
        socket.transport.resume_reading()
        for _ in range(updates):
            assert json.loads(await socket.recv())["type"] == "session.updated"
        assert peak_mib(cluster) < before + 50


async def test_a_client_that_leaves_while_the_provider_is_away_does_not_wait() -> None:
    """It has sent audio, which waits; its close does not."""
    async with deserted(FOR_A_MINUTE) as (cluster, socket):
        await send(socket, *(APPEND for _ in range(50)))
        async with asyncio.timeout(4):
            await socket.close()
        assert socket.close_code == 1000
        await asyncio.to_thread(eventually, lambda: is_logged(cluster, "session ended"))


async def test_a_provider_that_refuses_our_account_is_not_dialled_again() -> None:
    """It closes with a code on which others come back, and a reason that is not the client's."""
    setups = 0

    async def script(provider: ServerConnection) -> None:
        nonlocal setups
        setups += 1
        await accept(provider)
        await provider.close(1011, "You exceeded your current quota, please check your billing")

    async with scripted(script) as cluster, await openai_client(cluster) as socket:
        await send(socket, UPDATE)
        error = (await until(socket, "error"))[-1]["error"]
        assert "quota" not in error["message"]
        close = await closed(socket)
        assert close.code == 1013
        assert is_logged(cluster, "provider refuses our account")
    assert setups == 1


async def test_a_gateway_stops_while_a_provider_is_away() -> None:
    """A gateway that is to stop dials nobody again, and ends in time."""
    async with deserted(FOR_A_MINUTE) as (cluster, socket):
        assert await asyncio.to_thread(cluster.gateways[0].stop) == 0
        with pytest.raises(ConnectionClosed) as found:
            await until(socket, "none")
        assert found.value.rcvd is not None
        assert "draining" in found.value.rcvd.reason
        assert not is_logged(cluster, "sessions cut off")


async def test_a_gateway_that_stops_waits_for_no_first_message() -> None:
    """The client hears that it is to connect again, and no session is opened for it any more."""

    async def script(provider: ServerConnection) -> None:
        await provider.wait_closed()

    async with scripted(script) as cluster, await gemini_client(cluster) as socket:
        async with asyncio.timeout(10):
            stopping = asyncio.create_task(asyncio.to_thread(cluster.gateways[0].stop))
            close = await closed(socket)
            assert await stopping == 0
        assert "draining" in close.reason
        assert not is_logged(cluster, "session opened")
        assert not is_logged(cluster, "sessions cut off")
