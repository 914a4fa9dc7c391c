"""No SDK: the providers' protocols over plain ``websockets``, as many applications speak them."""

import base64
import json
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from clients.outcome import ANSWER, ASK_STORY, ASK_TOOL, PARAMETERS, SAID, TOOL, Outcome, Where
from tests.support.speech import chunks

Message = dict[str, Any]
TOOLS = [{"type": "function", "name": TOOL, "parameters": PARAMETERS}]
GEMINI = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
CREATE: Message = {"type": "response.create"}


async def openai(where: Where) -> Outcome:
    """OpenAI's protocol, JSON in text."""
    headers = {"Authorization": f"Bearer {where.key}"}
    url = f"ws://{where.plain}/v1/realtime?model={where.model}"
    async with connect(url, additional_headers=headers) as socket:
        await _configure(socket, {"type": "realtime", "audio": {"input": {"turn_detection": None}}})
        for piece in chunks(SAID):
            audio = base64.b64encode(piece).decode()
            await _send(socket, {"type": "input_audio_buffer.append", "audio": audio})
        return await _hold(socket)


async def xai_binary(where: Where) -> Outcome:
    """xAI's protocol with audio as binary frames in both directions."""
    headers = {"Authorization": f"Bearer {where.key}"}
    url = f"ws://{where.plain}/v1/realtime?model={where.model}"
    binary = {"input": {"transport": "binary", "turn_detection": None},
              "output": {"transport": "binary"}}  # fmt: skip
    async with connect(url, additional_headers=headers) as socket:
        await _configure(socket, {"type": "realtime", "audio": binary})
        for piece in chunks(SAID):
            await socket.send(piece)
        return await _hold(socket)


async def _configure(socket: ClientConnection, session: Message) -> None:
    await _until(socket, "session.created")
    await _send(socket, {"type": "session.update", "session": {**session, "tools": TOOLS}})
    await _until(socket, "session.updated")


async def _hold(socket: ClientConnection) -> Outcome:
    outcome = Outcome()
    await _send(socket, {"type": "input_audio_buffer.commit"}, CREATE)
    for event in await _until(socket, "response.done"):
        if isinstance(event, bytes):
            outcome.heard += event
        elif event["type"] == "response.output_audio.delta":
            outcome.heard += base64.b64decode(event["delta"])

    await _send(socket, _written(ASK_TOOL), CREATE)
    (call,) = (await _until(socket, "response.done"))[-1]["response"]["output"]
    outcome.tool = call["name"]
    answer = {"type": "function_call_output", "call_id": call["call_id"], "output": ANSWER}
    await _send(socket, {"type": "conversation.item.create", "item": answer}, CREATE)
    await _until(socket, "response.done")

    await _send(socket, _written(ASK_STORY), CREATE)
    await _until(socket, "response.output_audio_transcript.delta")
    await _send(socket, {"type": "response.cancel"})
    outcome.interrupted = (await _until(socket, "response.done"))[-1]["response"]["status"]
    return outcome


def _written(text: str) -> Message:
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": content}
    return {"type": "conversation.item.create", "item": item}


async def _send(socket: ClientConnection, *events: Message) -> None:
    for event in events:
        await socket.send(json.dumps(event))


async def _until(socket: ClientConnection, kind: str) -> list[Any]:
    events: list[Any] = []
    while not events or isinstance(events[-1], bytes) or events[-1]["type"] != kind:
        message = await socket.recv()
        events.append(message if isinstance(message, bytes) else json.loads(message))
        assert isinstance(message, bytes) or events[-1]["type"] != "error", message
    return events


async def gemini(where: Where) -> Outcome:
    """Gemini's protocol with the key in the URL and the names of its documentation."""
    outcome = Outcome()
    async with connect(f"ws://{where.plain}{GEMINI}?key={where.key}") as socket:
        setup = {
            "model": f"models/{where.model}",
            "generationConfig": {"responseModalities": ["AUDIO"]},
            "realtimeInputConfig": {"automaticActivityDetection": {"disabled": True}},
            "tools": [
                {"functionDeclarations": [{"name": TOOL, "parametersJsonSchema": PARAMETERS}]}
            ],
        }
        await _send(socket, {"setup": setup})
        assert "setupComplete" in json.loads(await socket.recv())
        await _send(socket, {"realtimeInput": {"activityStart": {}}})
        for piece in chunks(SAID):
            audio = {"data": base64.b64encode(piece).decode(), "mimeType": "audio/pcm;rate=24000"}
            await _send(socket, {"realtimeInput": {"audio": audio}})
        await _send(socket, {"realtimeInput": {"activityEnd": {}}})
        outcome.heard = b"".join([_audio(x) for x in await _turn(socket, "turnComplete")])

        await _send(socket, _content(ASK_TOOL))
        (call,) = (await _turn(socket, "toolCall"))[-1]["toolCall"]["functionCalls"]
        outcome.tool = call["name"]
        answer = {"id": call["id"], "name": call["name"], "response": {"celsius": 21}}
        await _send(socket, {"toolResponse": {"functionResponses": [answer]}})
        await _turn(socket, "turnComplete")

        await _send(socket, _content(ASK_STORY))
        await _turn(socket, "inlineData")
        await _send(socket, {"realtimeInput": {"activityStart": {}}})
        messages = await _turn(socket, "turnComplete")
        if any("interrupted" in x.get("serverContent", {}) for x in messages):
            outcome.interrupted = "interrupted"
    return outcome


def _content(text: str) -> Message:
    turn = {"role": "user", "parts": [{"text": text}]}
    return {"clientContent": {"turns": [turn], "turnComplete": True}}


def _audio(message: Message) -> bytes:
    parts = message.get("serverContent", {}).get("modelTurn", {}).get("parts", [])
    return b"".join(base64.b64decode(x["inlineData"]["data"]) for x in parts if "inlineData" in x)


async def _turn(socket: ClientConnection, word: str) -> list[Message]:
    """All messages up to the one that has ``word``."""
    messages: list[Message] = []
    while True:
        data = await socket.recv()
        assert isinstance(data, bytes), "Gemini's messages are binary frames"
        messages.append(json.loads(data))
        if f'"{word}"' in data.decode():
            return messages


CLIENTS = {
    "websockets OpenAI": (openai, "gpt-realtime"),
    "websockets xAI binary": (xai_binary, "grok-voice"),
    "websockets Gemini": (gemini, "gemini-live"),
}
