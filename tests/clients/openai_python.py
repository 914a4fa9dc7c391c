"""openai-python in all its forms: GA, sync, over TLS, Azure's, the beta's, GPT-Live."""

import asyncio
import base64
import inspect
import ssl
import warnings
from collections.abc import Callable
from typing import Any

from openai import AsyncAzureOpenAI, AsyncOpenAI, OpenAI

from clients.outcome import ANSWER, ASK_STORY, ASK_TOOL, PARAMETERS, SAID, TOOL, Outcome, Where
from tests.support.speech import chunks, silence, tone

TOOLS: Any = [{"type": "function", "name": TOOL, "parameters": PARAMETERS}]
GA: Any = {
    "type": "realtime",
    "output_modalities": ["audio"],
    "audio": {"input": {"turn_detection": None}},
    "tools": TOOLS,
}
BETA: Any = {"modalities": ["audio", "text"], "turn_detection": None, "tools": TOOLS}
PREVIEW = "2025-04-01-preview"


async def call(method: Callable[..., Any], **arguments: Any) -> Any:
    """Call a method of the async client, or one of the sync client in a thread."""
    if inspect.iscoroutinefunction(method):
        return await method(**arguments)
    return await asyncio.to_thread(method, **arguments)


class Talk:
    """A conversation over one of the SDK's connections."""

    def __init__(self, connection: Any, session: Any) -> None:
        self._connection = connection
        self._session = session
        self.outcome = Outcome()

    async def hold(self) -> Outcome:
        """A spoken turn, a tool call, an interruption."""
        await self._until("session.created")
        await call(self._connection.session.update, session=self._session)
        await self._until("session.updated")
        await self._speak()
        await self._use_tool()
        await self._interrupt()
        return self.outcome

    async def _speak(self) -> list[Any]:
        for piece in chunks(SAID):
            audio = base64.b64encode(piece).decode()
            await call(self._connection.input_audio_buffer.append, audio=audio)
        await call(self._connection.input_audio_buffer.commit)
        await call(self._connection.response.create)
        events = await self._until("response.done")
        deltas = [e.delta for e in events if e.type.endswith("audio.delta")]
        self.outcome.heard = b"".join(base64.b64decode(delta) for delta in deltas)
        return events

    async def _use_tool(self) -> None:
        await self._write(ASK_TOOL)
        await call(self._connection.response.create)
        (item,) = (await self._until("response.done"))[-1].response.output
        self.outcome.tool = item.name
        await self._add({"type": "function_call_output", "call_id": item.call_id, "output": ANSWER})
        await call(self._connection.response.create)
        await self._until("response.done")

    async def _interrupt(self) -> None:
        await self._write(ASK_STORY)
        await call(self._connection.response.create)
        await self._until("response.output_audio.delta", "response.audio.delta")
        await call(self._connection.response.cancel)
        self.outcome.interrupted = (await self._until("response.done"))[-1].response.status

    async def _write(self, text: str) -> None:
        content = [{"type": "input_text", "text": text}]
        await self._add({"type": "message", "role": "user", "content": content})

    async def _add(self, item: Any) -> None:
        await call(self._connection.conversation.item.create, item=item)

    async def _until(self, *types: str) -> list[Any]:
        events = []
        while not events or events[-1].type not in types:
            events.append(await call(self._connection.recv))
            assert events[-1].type != "error", events[-1]
        return events


async def ga(where: Where) -> Outcome:
    """The async client with a base URL."""
    client = AsyncOpenAI(api_key=where.key, base_url=f"http://{where.plain}/v1")
    async with client.realtime.connect(model=where.model) as connection:
        return await Talk(connection, GA).hold()


async def ga_over_tls(where: Where) -> Outcome:
    """The same with https, and the certificate given to the SDK."""
    client = AsyncOpenAI(api_key=where.key, base_url=f"https://{where.tls}/v1")
    options: Any = {"ssl": ssl.create_default_context(cafile=where.ca)}
    async with client.realtime.connect(
        model=where.model, websocket_connection_options=options
    ) as connection:
        return await Talk(connection, GA).hold()


async def sync(where: Where) -> Outcome:
    """The sync client."""
    client = OpenAI(api_key=where.key, base_url=f"http://{where.plain}/v1")

    def connect() -> Any:
        return client.realtime.connect(model=where.model).enter()

    connection = await asyncio.to_thread(connect)
    try:
        return await Talk(connection, GA).hold()
    finally:
        await asyncio.to_thread(connection.close)


async def websocket_base_url(where: Where) -> Outcome:
    """The base URL of WebSockets alone."""
    client = AsyncOpenAI(api_key=where.key, websocket_base_url=f"ws://{where.plain}/t/acme/v1")
    async with client.realtime.connect(model=where.model) as connection:
        return await Talk(connection, GA).hold()


async def azure_v1(where: Where) -> Outcome:
    """Azure's GA address with the plain client."""
    client = AsyncOpenAI(api_key=where.key, base_url=f"http://{where.plain}/openai/v1")
    async with client.realtime.connect(model=where.model) as connection:
        return await Talk(connection, GA).hold()


async def azure(where: Where) -> Outcome:
    """Azure's client over TLS, which it forces: its legacy address, where the beta is spoken."""
    client = AsyncAzureOpenAI(
        api_key=where.key, azure_endpoint=f"https://{where.tls}", api_version=PREVIEW
    )
    options: Any = {"ssl": ssl.create_default_context(cafile=where.ca)}
    async with client.realtime.connect(
        model=where.model, websocket_connection_options=options
    ) as connection:
        return await Talk(connection, BETA).hold()


async def azure_beta(where: Where) -> Outcome:
    """Azure's client with the beta's resource, which sends OpenAI-Beta, and a plain socket."""
    client = AsyncAzureOpenAI(
        api_key=where.key,
        azure_endpoint=f"http://{where.plain}",
        api_version=PREVIEW,
        websocket_base_url=f"ws://{where.plain}/openai",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        connecting = client.beta.realtime.connect(model=where.model)
    async with connecting as connection:
        return await Talk(connection, BETA).hold()


async def xai(where: Where) -> Outcome:
    """The client with a model of xAI, whose name leads there."""
    client = AsyncOpenAI(api_key=where.key, base_url=f"http://{where.plain}/v1")
    async with client.realtime.connect(model=where.model) as connection:
        return await Talk(connection, GA).hold()


async def live(where: Where) -> Outcome:
    """GPT-Live: always listening, billed by the second; it delegates where others call tools."""
    outcome = Outcome()
    client = AsyncOpenAI(api_key=where.key, base_url=f"http://{where.plain}/v1")
    async with client.live.connect() as connection:

        async def say(pcm: bytes) -> None:
            for piece in chunks(pcm):
                audio = base64.b64encode(piece).decode()
                await connection.send({"type": "session.input_audio.append", "audio": audio})

        async def hear(kind: str) -> bytes:
            heard = b""
            while (event := await connection.recv()).type != kind:
                assert event.type != "error", event
                if event.type == "session.output_audio.delta":
                    heard += base64.b64decode(event.delta)
            return heard

        delegation: Any = {"type": "responses", "responses": {"model": "gpt-5.6"}}
        session: Any = {"model": where.model, "delegation": delegation}
        await connection.send({"type": "session.start", "session": session})
        await hear("session.started")
        await say(SAID + silence(1.0))
        outcome.heard = await hear("session.delegation.created")
        await hear("response.event")
        outcome.tool = "delegated"

        story = tone(8.0)
        await say(story + silence(1.0))
        await hear("session.output_audio.delta")
        await say(SAID)
        await connection.send({"type": "session.close"})
        if len(await hear("session.closed")) < len(story) // 2:
            outcome.interrupted = "cut"
    return outcome


CLIENTS = {
    "openai-python async": (ga, "gpt-realtime"),
    "openai-python async wss": (ga_over_tls, "gpt-realtime"),
    "openai-python sync": (sync, "gpt-realtime"),
    "openai-python websocket_base_url": (websocket_base_url, "gpt-realtime"),
    "openai-python Azure v1": (azure_v1, "voice-deployment"),
    "openai-python AsyncAzureOpenAI wss": (azure, "voice-deployment"),
    "openai-python AsyncAzureOpenAI beta": (azure_beta, "voice-deployment"),
    "openai-python xAI": (xai, "grok-voice"),
    "openai-python live": (live, "gpt-live-1"),
}
