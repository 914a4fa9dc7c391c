"""Plain connections to the simulator for its tests, whatever provider it stands in for."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from tests.support.harness import Cluster, cluster_folder
from tests.support.speech import chunks

Event = dict[str, Any]
CREATE: Event = {"type": "response.create"}
BEARER = {"Authorization": "Bearer sk-any"}


@contextmanager
def simulator() -> Iterator[Cluster]:
    """A simulator on its own, which must have nothing to complain about."""
    with cluster_folder() as cluster:
        cluster.start_simulator("--abandoned-log", str(cluster.folder / "abandoned.jsonl"))
        yield cluster
        assert cluster.simulator is not None
        assert cluster.simulator.stop() == 0
        assert cluster.simulator.complaints() == []


def host(provider: Cluster) -> str:
    """Where the simulator listens."""
    assert provider.simulator is not None
    return provider.simulator.field("listen")


@asynccontextmanager
async def session(
    provider: Cluster, path: str, headers: dict[str, str] = BEARER, **query: str
) -> AsyncIterator[ClientConnection]:
    """A connection to a path, as fast as it can."""
    pairs = "&".join(f"{name}={value}" for name, value in {"pace": "0", **query}.items())
    url = f"ws://{host(provider)}{path}?{pairs}"
    async with connect(url, additional_headers=headers, max_size=None) as socket:
        yield socket


async def refused(provider: Cluster, target: str, headers: dict[str, str] | None = None) -> int:
    """The status by which a handshake is refused; one that is not fails the test."""
    with pytest.raises(InvalidStatus) as caught:
        async with connect(f"ws://{host(provider)}{target}", additional_headers=headers):
            pass
    return caught.value.response.status_code


async def answered(
    provider: Cluster, path: str, headers: dict[str, str] = BEARER, **query: str
) -> list[Any]:
    """All events of a session that asks for one response, up to its end."""
    async with session(provider, path, headers, **query) as socket:
        await send(socket, CREATE)
        return await until(socket, "response.done")


async def spoken(socket: ClientConnection, pcm: bytes, last: str) -> list[Any]:
    """All events that answer what is said, up to one of type ``last``."""
    await send(socket, *say(pcm))
    return await until(socket, last)


async def send(socket: ClientConnection, *events: Event) -> None:
    """Send client events."""
    for event in events:
        await socket.send(json.dumps(event))


async def until(socket: ClientConnection, kind: str) -> list[Any]:
    """All events up to one of a type; raw frames as they are."""
    seen: list[Any] = []
    async with asyncio.timeout(20):
        while True:
            message = await socket.recv()
            seen.append(message if isinstance(message, bytes) else json.loads(message))
            if isinstance(message, str) and seen[-1]["type"] == kind:
                return seen


async def text_until_done(connection: Any, kind: str) -> str:
    """The joined deltas of type ``kind`` that an official client reads up to response.done."""
    text = ""
    async for event in connection:
        if event.type == kind:
            text += event.delta
        if event.type == "response.done":
            break
    return text


def say(pcm: bytes) -> list[Event]:
    """Audio in 20 ms pieces."""
    return [
        {"type": "input_audio_buffer.append", "audio": base64.b64encode(x).decode()}
        for x in chunks(pcm)
    ]


def write(text: str) -> Event:
    """A message of the user."""
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": content}
    return {"type": "conversation.item.create", "item": item}


def order(events: list[Any], *repeated: str) -> list[str]:
    """The types in order; those in ``repeated`` and runs of one type only once."""
    found: list[str] = []
    for event in events:
        kind = "bytes" if isinstance(event, bytes) else event["type"]
        if (not found or found[-1] != kind) and not (kind in repeated and kind in found):
            found.append(kind)
    return found


def logged(provider: Cluster, tag: str) -> list[Event]:
    """The usages that sessions with ``?tag=`` were sent."""
    return [x for x in provider.usage_sent() if f"tag={tag}" in x["query"]]
