"""Two providers of one protocol behind one address, and clients of a model that both serve."""

import asyncio
import itertools
import json
from collections import Counter
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from tests.support.harness import Cluster, eventually

Event = dict[str, Any]
GEMINI = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
NO_BODY = Headers([("Content-Length", "0"), ("Connection", "close")])
MODELS = """
    [models."safe"]
    providers = [
      {provider = "openai", model = "gpt-realtime"}, {provider = "xai", model = "grok-voice"},
    ]
    [models."gemini-safe"]
    providers = [
      {provider = "openai", model = "gpt-realtime"}, {provider = "xai", model = "grok-voice"},
    ]
"""
CROSSED = """
    [models."safe"]
    providers = [
      {provider = "openai", model = "gpt-realtime"},
      {provider = "gemini", model = "gemini-live"},
    ]
"""
OPS = "127.0.0.1:0"
USAGE = {
    "total_tokens": 12, "input_tokens": 5, "output_tokens": 7,
    "input_token_details": {"text_tokens": 5, "audio_tokens": 0, "cached_tokens": 0},
    "output_token_details": {"text_tokens": 7, "audio_tokens": 0},
}  # fmt: skip


class Providers:
    """Both, behind one address. ``dials`` are counted by path; those in ``away`` refuse.

    ``told`` is what each heard, as JSON texts. A response ends when ``finishes`` is set, as it is
    at first.
    """

    def __init__(self, *away: str, status: int = 503) -> None:
        self.away = set(away)
        self.dials: Counter[str] = Counter()
        self.models: list[str] = []
        self.told: dict[str, list[str]] = {"openai": [], "xai": []}
        self.refusing: dict[str, list[Event]] = {}  # what one says in place of a response
        self.finishes = asyncio.Event()
        self.finishes.set()
        self._numbers = itertools.count(1)
        self._status = status

    async def answer(self, _: ServerConnection, request: Request) -> Response | None:
        """Whether the upgrade is refused."""
        name, query = _name_of(request), request.path.partition("?")[2]
        self.dials[name] += 1
        self.models.append(query)
        if name in self.away:
            return Response(self._status, "Refused", NO_BODY)
        return None

    async def serve(self, socket: ServerConnection) -> None:
        """Answer each request for a response with the same usage."""
        assert socket.request is not None
        name = _name_of(socket.request)
        told = self.told[name]
        await send(socket, {"type": "session.created", "session": {"model": "m"}})
        async for text in socket:
            told.append(str(text))
            kind = json.loads(text)["type"]
            if kind == "session.update":
                await send(socket, {"type": "session.updated", "session": {"model": "m"}})
            elif kind == "input_audio_buffer.commit":  # as if it had heard speech
                response = {"id": f"resp_{next(self._numbers)}", "object": "realtime.response"}
                await send(socket, {"type": "input_audio_buffer.speech_stopped"})
                await send(socket, {"type": "response.created", "response": response})
                await send(socket, {"type": "response.content_part.added"})
                done = {**response, "status": "completed", "output": [], "usage": USAGE}
                await send(socket, {"type": "response.done", "response": done})
            elif kind == "response.cancel":
                error = {"type": "invalid_request_error", "code": "response_cancel_not_active"}
                await send(socket, {"type": "error", "error": {**error, "message": "none"}})
            elif kind == "response.create" and name in self.refusing:
                for event in self.refusing[name]:
                    await send(socket, event)
            elif kind == "response.create":
                response = {"id": f"resp_{next(self._numbers)}", "object": "realtime.response"}
                await send(socket, {"type": "response.created", "response": response})
                await self.finishes.wait()
                done = {**response, "status": "completed", "output": [], "usage": USAGE}
                await send(socket, {"type": "response.done", "response": done})


def _name_of(request: Request) -> str:
    names = {"/xai": "xai", "/ws": "gemini"}
    return next((n for start, n in names.items() if request.path.startswith(start)), "openai")


async def as_gemini(socket: ServerConnection, told: list[Event]) -> None:
    """Answer each turn with the same words."""
    told.append(json.loads(await socket.recv()))
    await send(socket, {"setupComplete": {}})
    async for text in socket:
        content = json.loads(text).get("clientContent", {})
        told.append(content)
        if content.get("turnComplete"):
            await send(socket, {"serverContent": {"modelTurn": {"parts": [{"text": "Good day"}]}}})
            usage = {"promptTokenCount": 5, "responseTokenCount": 7, "totalTokenCount": 12}
            await send(socket, {"serverContent": {"turnComplete": True}, "usageMetadata": usage})


async def send(socket: ClientConnection | ServerConnection, event: Event) -> None:
    """Send an event."""
    await socket.send(json.dumps(event))


async def until(socket: ClientConnection, kind: str) -> Event:
    """The next event of a type."""
    async with asyncio.timeout(20):
        while (event := json.loads(await socket.recv()))["type"] != kind:
            pass
    assert isinstance(event, dict)
    return event


async def talk(cluster: Cluster, key: str) -> None:
    """One session of a client of OpenAI's, with one response."""
    url = f"ws://{cluster.address}/v1/realtime?model=safe&rs_key={key}"
    async with connect(url) as socket:
        await until(socket, "session.created")
        await send(socket, {"type": "response.create"})
        await until(socket, "response.done")


async def charged(cluster: Cluster, account: str, responses: int) -> list[Event]:
    """An account's rows, once they hold so many responses."""

    def found() -> list[Event]:
        rows = cluster.usage_rows(account)
        return rows if sum(row["responses"] for row in rows) >= responses else []

    return await asyncio.to_thread(eventually, found)


async def until_key(socket: ClientConnection, name: str) -> Event:
    """The next message of Gemini's with a key."""
    async with asyncio.timeout(20):
        while name not in (event := json.loads(await socket.recv())):
            pass
    assert isinstance(event, dict)
    return event


async def until_turn(socket: ClientConnection) -> None:
    """The end of a turn, for a client of Gemini's."""
    while "turnComplete" not in (await until_key(socket, "serverContent"))["serverContent"]:
        pass
