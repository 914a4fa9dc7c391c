"""Who resumes a Gemini session finds its former connection closed first: Google refuses it else."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection

from gateway.limits import FORMER_S
from tests.support.fake_provider import beside, scripted
from tests.support.harness import SETTLE_S, Cluster, eventually
from tests.support.simulator_client import Event, send, simulator
from tests.support.simulator_client_gemini import PATH, TEXT, content


@asynccontextmanager
async def google() -> AsyncIterator[Cluster]:
    """The simulator, and a gateway in front of it."""
    context = simulator()
    provider = await asyncio.to_thread(context.__enter__)
    try:
        assert provider.simulator is not None
        async with beside(f"http://{provider.simulator.field('listen')}") as cluster:
            yield cluster
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


async def open_session(cluster: Cluster, key: str, **query: str) -> ClientConnection:
    """A connection of an account."""
    pairs = "".join(f"&{name}={value}" for name, value in {"pace": "0", **query}.items())
    return await connect(f"ws://{cluster.address}{PATH}?key={key}{pairs}", max_size=None)


async def until(socket: ClientConnection, name: str) -> Any:
    """What stands under a name in the next message that has it."""
    async with asyncio.timeout(SETTLE_S):
        while True:
            event: Event = json.loads(await socket.recv())
            if name in event:
                return event[name]


async def given_handle(socket: ClientConnection) -> str:
    """Set a session up; what it can be resumed by."""
    await send(socket, {"setup": {**TEXT, "sessionResumption": {}}})
    handle = (await until(socket, "sessionResumptionUpdate"))["newHandle"]
    assert isinstance(handle, str)
    return handle


def resuming(handle: str) -> Event:
    """A setup."""
    return {"setup": {**TEXT, "sessionResumption": {"handle": handle}}}


async def new_key(cluster: Cluster) -> str:
    """Of an account."""
    return await asyncio.to_thread(cluster.create_account, "acct")


@pytest.mark.parametrize("is_later", [False, True], ids=["its first handle", "a later one"])
async def test_a_drain_ends_before_its_session_is_resumed(is_later: bool) -> None:
    """The client was lost in the middle of an answer that is never reported: an estimate, as at the
    end of any drain; and the session goes on at once.
    """
    async with google() as cluster:
        key = await new_key(cluster)
        former = await open_session(cluster, key)
        handle = await given_handle(former)
        if is_later:
            await send(former, content("hello"))
            handle = (await until(former, "sessionResumptionUpdate"))["newHandle"]
        former.transport.abort()
        socket = await open_session(cluster, key)
        await send(socket, resuming(handle))
        await until(socket, "setupComplete")
        await socket.close()


async def test_what_the_former_session_owes_is_an_estimate() -> None:
    """A response was requested, and its usage will never be reported: an estimate."""
    async with google() as cluster:
        key = await new_key(cluster)
        former = await open_session(cluster, key, done="never")
        handle = await given_handle(former)
        await send(former, content("hello"))
        await until(former, "serverContent")
        former.transport.abort()
        socket = await open_session(cluster, key)
        await send(socket, resuming(handle), content("again"))
        await until(socket, "setupComplete")
        await until(socket, "usageMetadata")
        await socket.close()
        rows = await asyncio.to_thread(eventually, lambda: both(cluster.usage_rows("acct")))
    assert {row["kind"] for row in rows} == {"estimate", "response"}


def both(rows: list[Event]) -> list[Event]:
    """The rows, once there are two."""
    return rows if len(rows) == 2 else []


async def test_a_client_that_nobody_misses_yet_gives_way() -> None:
    """Its network is gone and no close came: the client that resumes is the one that is there."""
    async with google() as cluster:
        key = await new_key(cluster)
        former = await open_session(cluster, key)
        handle = await given_handle(former)
        socket = await open_session(cluster, key)
        await send(socket, resuming(handle))
        await until(socket, "setupComplete")
        async with asyncio.timeout(SETTLE_S):
            await former.wait_closed()
        assert former.close_code == 1001
        assert "resumed" in (former.close_reason or "")
        await socket.close()


async def test_a_provider_that_does_not_close_is_cut() -> None:
    """The one that resumes waits no longer than a moment for it."""
    sockets, over = 0, asyncio.Event()

    async def script(provider: ServerConnection) -> None:
        nonlocal sockets
        sockets += 1
        await provider.recv()
        await provider.send(b'{"setupComplete":{}}')
        if sockets == 1:
            await provider.send(b'{"sessionResumptionUpdate":{"newHandle":"h1"}}')
            await provider.recv()
            provider.transport.pause_reading()  # so it never answers a close
            await over.wait()
            provider.transport.abort()
        await provider.wait_closed()

    async with scripted(script) as cluster:
        key = await new_key(cluster)
        former = await open_session(cluster, key)
        handle = await given_handle(former)
        await send(former, content("hello"))
        former.transport.abort()
        socket = await open_session(cluster, key)
        began = asyncio.get_running_loop().time()
        await send(socket, resuming(handle))
        await until(socket, "setupComplete")
        assert asyncio.get_running_loop().time() - began >= FORMER_S
        over.set()
        await socket.close()
        log = cluster.gateways[0].log
        await asyncio.to_thread(
            eventually, lambda: log.read_text().count("session ended") == 2 and log
        )
