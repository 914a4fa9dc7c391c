"""Clients that hold everything they see to the grammar of their protocol."""

import asyncio
import json

from websockets.asyncio.client import ClientConnection

from tests.support import grammar_gemini, grammar_openai
from tests.support.simulator_client import CREATE, Event, send
from tests.support.speech import silence, tone

SPEECH = silence(0.4) + tone(0.6) + silence(0.6)
TOOL = {"type": "function", "name": "weather", "description": "d", "parameters": {}}
VERTEX = "/ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent"


def update(*, transcriber: str | None = None, is_manual: bool = False, **settings: object) -> Event:
    """A session.update."""
    heard: Event = {"turn_detection": None} if is_manual else {}
    if transcriber:
        heard["transcription"] = {"model": transcriber}
    session = {"type": "realtime", "audio": {"input": heard}, **settings}
    return {"type": "session.update", "session": session}


WRITTEN = update(output_modalities=["text"])
COMMIT: Event = {"type": "input_audio_buffer.commit"}


class OpenAi:
    """A client of OpenAI's family that checks all it sees."""

    def __init__(self, socket: ClientConnection, *, is_xai: bool) -> None:
        self._socket = socket
        self.checker = grammar_openai.Checker(is_xai=is_xai)

    async def say(self, *events: Event) -> None:
        """Send client events."""
        await send(self._socket, *events)

    async def until(self, kind: str) -> Event:
        """The next event of a type."""
        async with asyncio.timeout(20):
            while True:
                message = await self._socket.recv()
                self.checker.see(message)
                if isinstance(message, str) and (event := json.loads(message))["type"] == kind:
                    assert isinstance(event, dict)
                    return event

    async def respond(self, *events: Event) -> Event:
        """Send events and ask for a response; it when it is done."""
        await self.say(*events, CREATE)
        response = (await self.until("response.done"))["response"]
        assert isinstance(response, dict)
        return response

    async def rest(self) -> None:
        """Everything that was sent up to now."""
        await self.say({"type": "conversation.item.retrieve", "item_id": "none"})
        await self.until("error")


class Gemini:
    """A client of Gemini Live that checks all it sees."""

    def __init__(self, socket: ClientConnection, checker: grammar_gemini.Checker) -> None:
        self._socket = socket
        self.checker = checker
        self._words = ""

    async def say(self, *messages: Event) -> None:
        """Send client messages."""
        await send(self._socket, *messages)

    async def until(self, *names: str) -> Event:
        """The next message in which this path of fields is true."""
        async with asyncio.timeout(20):
            while True:
                message = await self._socket.recv()
                assert isinstance(message, bytes)
                self.checker.see(message)
                found = json.loads(message)
                content = found.get("serverContent", {})
                self._words += content.get("outputTranscription", {}).get("text", "")
                for name in names:
                    found = found.get(name, {}) if isinstance(found, dict) else {}
                if found not in ({}, False):
                    return found if isinstance(found, dict) else json.loads(message)

    async def turn(self, *messages: Event) -> str:
        """Send messages and hear the turn; the model's words in it."""
        self._words = ""
        await self.say(*messages)
        await self.until("serverContent", "turnComplete")
        return self._words


def answer(call: Event) -> Event:
    """A tool's answer."""
    found = {"id": call.get("id"), "name": call["name"], "response": {"celsius": 21}}
    return {"toolResponse": {"functionResponses": [found]}}
