"""What a session was made of is freed when it ends, not when a collector comes by.

Thousands of sessions in circles would make the collector stop the event loop, and keep memory.
"""

import asyncio
import contextlib
import functools
import json
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.fake_provider import scripted
from tests.support.harness import Cluster, cluster_folder, eventually
from tests.support.ports import free_ports
from tests.support.two_providers import CROSSED, Providers, as_gemini, send, until

GATEWAY = Path(__file__).with_name("uncollected_gateway.py")
Ending = Callable[[ClientConnection], Awaitable[None]]


async def provide(provider: ServerConnection) -> None:
    """Converse until the connection ends."""
    with contextlib.suppress(ConnectionClosed):
        await converse(provider)


async def converse(provider: ServerConnection) -> None:
    """Say hello, answer a cancel, and leave in the way that the client asks for."""
    await provider.send('{"type":"session.created","session":{}}')
    async for text in provider:
        kind = json.loads(text)["type"]
        if kind == "response.cancel":
            error = {"type": "error", "error": {"code": "response_cancel_not_active"}}
            await provider.send(json.dumps(error))
        elif kind == "leave":
            await provider.close(1000, "bye")
        elif kind == "break":
            provider.transport.abort()


async def close(client: ClientConnection) -> None:
    """The client closes."""
    await client.close()


async def vanish(client: ClientConnection) -> None:
    """The client's connection breaks."""
    client.transport.abort()


def asking(kind: str) -> Ending:
    """The provider ends the session."""

    async def ask(client: ClientConnection) -> None:
        await client.send(json.dumps({"type": kind}))
        await closed(client)

    return ask


async def closed(client: ClientConnection) -> None:
    """Whatever the client is told before."""
    with pytest.raises(ConnectionClosed):
        while True:
            await client.recv()


async def lose_and_close(client: ClientConnection) -> None:
    """The provider's connection breaks, another one answers, and the client closes."""
    await client.send(json.dumps({"type": "break"}))
    async with asyncio.timeout(20):
        answer = asyncio.ensure_future(client.recv())
        while not answer.done():  # what is sent while the connection breaks is lost
            await client.send(json.dumps({"type": "response.cancel"}))
            await asyncio.wait([answer], timeout=0.1)
    await client.close()


async def one_session(url: str, ending: Ending) -> None:
    """Begin a session and end it."""
    async with connect(url, compression=None) as client:
        await client.recv()
        await ending(client)


async def no_session(cluster: Cluster, key: str) -> None:
    """A key is refused; a provider cannot be reached."""
    with pytest.raises(InvalidStatus):
        await connect(f"{cluster.url}?model=gpt-realtime&key=wrong", compression=None)
    async with connect(f"{cluster.url}?model=grok&provider=xai&key={key}") as client:
        await closed(client)


@pytest.mark.parametrize(
    ("keeps", "endings"),
    [
        ("no", (close, vanish, asking("leave"), asking("break"))),
        ("yes", (close, vanish, lose_and_close)),
    ],
)
async def test_sessions_leave_nothing_to_a_collector(
    keeps: str, endings: tuple[Ending, ...]
) -> None:
    """However they end, and also where there is none."""
    async with serve(provide, "127.0.0.1", 0, compression=None) as server:
        port = server.sockets[0].getsockname()[1]
        (closed_port,) = free_ports(1)
        with cluster_folder() as cluster:
            await asyncio.to_thread(cluster.start_accountd)
            gateway = await asyncio.to_thread(
                cluster.start_gateway, script=GATEWAY, GATEWAY_KEEP_SESSIONS=keeps,
                OPENAI_BASE_URL=f"http://127.0.0.1:{port}/v1",
                XAI_API_KEY="xai-key", XAI_BASE_URL=f"http://127.0.0.1:{closed_port}/v1",
            )  # fmt: skip
            key = await asyncio.to_thread(cluster.create_account, "garbage")
            for ending in endings:
                await one_session(f"{cluster.url}?model=gpt-realtime&key={key}", ending)
            await no_session(cluster, key)

            await asyncio.to_thread(eventually, lambda: has_ended(gateway.log, len(endings) + 1))
            assert await collected(cluster) == []


async def collected(cluster: Cluster) -> list[str]:
    """What only a collector would have freed."""
    cluster.gateways[0].process.send_signal(signal.SIGUSR1)
    found = cluster.folder / "garbage.json"
    await asyncio.to_thread(eventually, found.exists)
    names: list[str] = json.loads(found.read_text())
    return names


@pytest.mark.parametrize("headers", [{}, {"OpenAI-Beta": "realtime=v1"}], ids=["ga", "beta"])
async def test_sessions_that_moved_leave_nothing_either(headers: dict[str, str]) -> None:
    """To a provider of another protocol, and back, once in the middle of a response; their clients
    leave at either, or while nobody can be reached.
    """
    providers, sockets = Providers(), list[ServerConnection]()

    async def converse_as(socket: ServerConnection) -> None:
        sockets.append(socket)
        with contextlib.suppress(ConnectionClosed):
            path = socket.request.path if socket.request is not None else ""
            await (providers.serve(socket) if path.startswith("/v1") else as_gemini(socket, []))

    async def move(client: ClientConnection, away: str) -> None:
        providers.away.clear()
        providers.away.add(away)
        sockets[-1].transport.abort()
        await until(client, "rts.provider")
        await send(client, {"type": "response.create"})
        await until(client, "response.done")

    async with scripted(
        converse_as, answer=providers.answer, gateway=GATEWAY, GATEWAY_MODELS_FILE=CROSSED
    ) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "garbage")
        url = f"ws://{cluster.address}/v1/realtime?model=safe&rs_events=1&rs_key={key}"
        log = cluster.gateways[0].log
        for number, moves in enumerate((("openai",), ("openai", "gemini"), ("openai", "both"))):
            providers.away.clear()
            async with connect(url, additional_headers=headers) as client:
                await until(client, "session.created")
                providers.finishes.clear()
                await send(client, {"type": "response.create"})
                await until(client, "response.created")
                providers.finishes.set()
                for away in moves:
                    if away == "both":
                        providers.away |= {"openai", "gemini"}
                        sockets[-1].transport.abort()
                    else:
                        await move(client, away)
            ended = functools.partial(has_ended, log, number + 1)
            await asyncio.to_thread(eventually, ended)
        assert await collected(cluster) == []


def has_ended(log: Path, sessions: int) -> bool:
    """Whether so many sessions have ended."""
    return log.read_text().count('event="session ended"') == sessions
