"""Connections to the simulated Gemini Live, and what its messages mean."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from google.genai import _live_converters as converters
from google.genai import types
from websockets.asyncio.client import ClientConnection, connect

from tests.support.harness import Cluster
from tests.support.simulator_client import Event, host, send
from tests.support.speech import chunks

PATH = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
KEY = {"x-goog-api-key": "k"}
MODEL = "models/gemini-3.1-flash-live-preview"
SETUP = {"model": MODEL, "inputAudioTranscription": {}, "outputAudioTranscription": {}}
TEXT = {"model": MODEL, "generationConfig": {"responseModalities": ["TEXT"]}}
WEATHER = {"functionDeclarations": [{"name": "weather", "description": "d"}]}


@asynccontextmanager
async def session(
    provider: Cluster,
    setup: Event | None = None,
    *,
    path: str = PATH,
    headers: dict[str, str] = KEY,
    **query: str,
) -> AsyncIterator[ClientConnection]:
    """A connection, set up unless ``setup`` is empty."""
    pairs = "&".join(f"{name}={value}" for name, value in {"pace": "0", **query}.items())
    url = f"ws://{host(provider)}{path}?{pairs}"
    async with connect(url, additional_headers=headers, max_size=2**20) as socket:
        if setup != {}:
            await send(socket, {"setup": setup or SETUP})
            assert "setupComplete" in await receive(socket)
        yield socket


async def receive(socket: ClientConnection, *, is_vertex: bool = False) -> Event:
    """One message: binary, pretty-printed, and valid by the SDK's types, which forbid others."""
    async with asyncio.timeout(20):
        data = await socket.recv()
    assert isinstance(data, bytes)
    message: Event = json.loads(data)
    assert data.decode() == json.dumps(message, indent=2, ensure_ascii=False) + "\n"
    check(message, is_vertex=is_vertex)
    return message


def check(message: Event, *, is_vertex: bool = False) -> None:
    """Valid by the SDK's types, after its own conversion of Vertex's names."""
    found = converters._LiveServerMessage_from_vertex(message) if is_vertex else message
    types.LiveServerMessage.model_validate(found)
    assert len([name for name in message if name != "usageMetadata"]) <= 1


async def turn(socket: ClientConnection, *, is_vertex: bool = False) -> list[Event]:
    """All messages up to turnComplete."""
    seen: list[Event] = []
    while not (seen and seen[-1].get("serverContent", {}).get("turnComplete")):
        seen.append(await receive(socket, is_vertex=is_vertex))
    return seen


def parts(messages: list[Event]) -> list[str]:
    """What each message is, runs of one kind once."""
    found: list[str] = []
    for message in messages:
        kind = next(iter(message))
        if kind == "serverContent":
            kind = "+".join(message[kind])
            if kind == "modelTurn":
                part = message["serverContent"]["modelTurn"]["parts"][0]
                kind = next(x for x in ("thought", "inlineData", "text") if x in part)
        if not found or found[-1] != kind:
            found.append(kind)
    return found


def heard(messages: list[Event]) -> bytes:
    """The audio of all parts."""
    turns = [m.get("serverContent", {}).get("modelTurn", {}) for m in messages]
    inline = [
        p["inlineData"]["data"] for t in turns for p in t.get("parts", []) if "inlineData" in p
    ]
    return b"".join(base64.b64decode(data) for data in inline)


def speech(pcm: bytes, rate: int = 24_000) -> list[Event]:
    """Audio in pieces as the SDKs send it."""
    return [
        {
            "realtime_input": {
                "audio": {
                    "data": base64.b64encode(x).decode(), "mime_type": f"audio/pcm;rate={rate}",
                }
            }
        }
        for x in chunks(pcm, 40)
    ]  # fmt: skip


def content(text: str) -> Event:
    """A turn of the user, in writing."""
    turns = [{"role": "user", "parts": [{"text": text}]}]
    return {"clientContent": {"turns": turns, "turnComplete": True}}
