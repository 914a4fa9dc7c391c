"""Translated sessions of tests: plain clients of both protocols; a Gemini that follows a script."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close
from websockets.http11 import Request, Response

from tests.support.fake_provider import scripted
from tests.support.harness import Cluster, eventually
from tests.support.tuned import Constants

Event = dict[str, Any]
GEMINI = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
UPDATE = {"type": "session.update", "session": {"type": "realtime"}}
SAID: Event = {
    "type": "conversation.item.create",
    "item": {
        "type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}],
    },
}  # fmt: skip
USAGE = {"promptTokenCount": 5, "responseTokenCount": 7, "totalTokenCount": 12}
NO_BODY = Headers([("Content-Length", "0"), ("Connection", "close")])


async def openai_client(cluster: Cluster, account: str = "a", **query: str) -> ClientConnection:
    """A client that speaks OpenAI's protocol, led to Gemini."""
    key = await asyncio.to_thread(cluster.create_account, account)
    pairs = "&".join(f"{n}={v}" for n, v in {"model": "m", "rs_core": "GEMINI", **query}.items())
    return await connect(
        f"ws://{cluster.address}/v1/realtime?{pairs}",
        additional_headers={"Authorization": f"Bearer {key}"},
    )


async def gemini_client(
    cluster: Cluster, account: str = "a", *, provider: str = "openai"
) -> ClientConnection:
    """A client that speaks Gemini's protocol, led to another provider."""
    key = await asyncio.to_thread(cluster.create_account, account)
    return await connect(
        f"ws://{cluster.address}/provider/{provider}{GEMINI}",
        additional_headers={"x-goog-api-key": key},
    )


async def send(socket: ClientConnection | ServerConnection, *events: Event) -> None:
    """Send messages."""
    for event in events:
        await socket.send(json.dumps(event))


async def until(socket: ClientConnection, kind: str) -> list[Event]:
    """All events of a client up to one of a type."""
    found: list[Event] = []
    async with asyncio.timeout(20):
        while not found or found[-1]["type"] != kind:
            found.append(json.loads(await socket.recv()))
    return found


async def rows_of(cluster: Cluster, account: str, count: int) -> list[Event]:
    """An account's rows, once they hold so many responses."""

    def found() -> list[Event]:
        rows = cluster.usage_rows(account)
        return rows if sum(row["responses"] for row in rows) >= count else []

    return await asyncio.to_thread(eventually, found)


def is_logged(cluster: Cluster, text: str, times: int = 1) -> bool:
    """Whether the gateway has logged something so many times."""
    return cluster.gateways[0].log.read_text().count(text) >= times


async def accept(provider: ServerConnection) -> Event:
    """Take a Gemini client's setup."""
    setup: Event = json.loads(await provider.recv())["setup"]
    await send(provider, {"setupComplete": {}})
    return setup


async def answer(provider: ServerConnection, text: str) -> None:
    """Say something in one turn, with its usage."""
    await send(
        provider,
        {"serverContent": {"outputTranscription": {"text": text}}},
        {"serverContent": {"generationComplete": True}},
        {"serverContent": {"turnComplete": True}, "usageMetadata": USAGE},
    )


@asynccontextmanager
async def deserted(tuned: Constants) -> AsyncIterator[tuple[Cluster, ClientConnection]]:
    """A client whose provider has accepted its session, dropped it, and stays away. ``tuned`` says
    how soon the gateway tries again, and how often.
    """
    is_away = asyncio.Event()

    async def refuse(_: ServerConnection, __: Request) -> Response | None:
        return Response(503, "Service Unavailable", NO_BODY) if is_away.is_set() else None

    async def script(provider: ServerConnection) -> None:
        await accept(provider)
        is_away.set()
        provider.transport.abort()

    async with scripted(script, answer=refuse, tuned=tuned) as cluster:
        socket = await openai_client(cluster)
        await send(socket, UPDATE)
        await asyncio.to_thread(eventually, lambda: is_logged(cluster, "provider left"))
        yield cluster, socket


async def closed(socket: ClientConnection) -> Close:
    """The close that the client gets as the next thing."""
    with pytest.raises(ConnectionClosed) as found:
        await asyncio.wait_for(socket.recv(), 20)
    assert found.value.rcvd is not None
    return found.value.rcvd


async def asked_and_answered(socket: ClientConnection) -> None:
    """The user writes, and the response is complete."""
    await send(socket, SAID, {"type": "response.create"})
    done = (await until(socket, "response.done"))[-1]
    assert done["response"]["status"] == "completed"
