"""A Gemini client and a simulated provider of the OpenAI family in one event loop, without sockets.

What the client gets is held to the grammar of Gemini's messages, and what the provider gets is
refused by the simulator where the real one refuses it.
"""

import asyncio
import base64
from collections.abc import Callable
from typing import Any

from msgspec import json

from gateway.translate.base import Translation
from gateway.translate.to_openai.translator import OpenAITranslator
from gateway.translate.voices import BUILT_IN
from simulator.dialect import Dialect
from simulator.faults import Faults
from simulator.generation import Pace
from simulator.session import Session
from simulator.xai import XaiDialect
from tests.support.grammar_gemini import Checker

Message = dict[str, Any]

MIME = "audio/pcm;rate=24000"
WAIT_S = 10.0


class SimulatedTalk:
    """A session. ``heard`` is what the client got, ``errors`` are the provider's, and ``usages``
    those that it logged.
    """

    def __init__(self, provider: str = "openai", *, faults: Faults | None = None) -> None:
        self.translator = OpenAITranslator(
            provider=provider, model="gpt-realtime", seed="5eed", voices=BUILT_IN
        )
        self.grammar = Checker(has_loose_usage=True, may_cut_playback=True)
        self.heard: list[Message] = []
        self.errors: list[Message] = []
        self.usages: list[Message] = []
        self.ignored: list[str] = []
        self._is_xai = provider == "xai"
        self._faults = faults or Faults()
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._session: Session | None = None
        self._pump: asyncio.Task[None] | None = None
        self._heard_more = asyncio.Event()
        self._turns = 0

    async def connect(self) -> None:
        """A provider's connection is open."""
        self._session = Session(
            model="gpt-realtime",
            pace=Pace(factor=0),
            faults=self._faults,
            send=self._from_provider,
            hang_up=self._hang_up,
            log_usage=self.usages.append,
            log_abandoned=lambda _: None,
            on_audio=lambda _: None,
            session_id="sess_1",
            dialect=XaiDialect() if self._is_xai else Dialect(),
        )
        self._pump = asyncio.get_running_loop().create_task(self._to_provider(self._session))
        await self._session.open()
        self._take(self.translator.provider_opened())

    async def disconnect(self) -> None:
        """The provider's connection is gone."""
        assert self._session is not None
        assert self._pump is not None
        self._pump.cancel()
        await self._session.close()
        self._take(self.translator.provider_closed())

    def client(self, **message: Any) -> None:
        """The client sends a message."""
        self._take(self.translator.from_client(json.encode(message)))

    def speak(self, pcm: bytes) -> None:
        """The client sends audio of 24 kHz, 20 ms in each message."""
        for at in range(0, len(pcm), 960):
            data = base64.b64encode(pcm[at : at + 960]).decode()
            self.client(realtimeInput={"audio": {"data": data, "mimeType": MIME}})

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for something that a message of the provider brings about."""
        async with asyncio.timeout(WAIT_S):
            while not is_so():
                self._heard_more.clear()
                await self._heard_more.wait()

    async def turn(self) -> None:
        """Wait for the end of the next turn, or the call of a function."""
        self._turns += 1
        await self.until(lambda: len(self.ends()) >= self._turns)

    def _take(self, out: Translation) -> None:
        for raw in out.to_client:
            self.grammar.see(raw)
            self.heard.append(json.decode(raw))
        for raw in out.to_provider:
            self._queue.put_nowait(raw)
        self.ignored += out.ignored

    async def _from_provider(self, message: Any) -> None:
        if message["type"] == "error":
            self.errors.append(message["error"])
        self._take(self.translator.from_provider(json.encode(message)))
        self._heard_more.set()

    async def _to_provider(self, session: Session) -> None:
        while True:
            await session.receive((await self._queue.get()).decode())

    async def _hang_up(self, _code: int) -> None:
        await self.disconnect()

    # --- what was heard ---------------------------------------------------------------------------

    def ends(self) -> list[Message]:
        """The messages by which it is the client's turn."""
        contents = (m.get("serverContent", {}) | m for m in self.heard)
        return [m for m in contents if "turnComplete" in m or "toolCall" in m]

    def told_usages(self) -> list[Message]:
        """The usages that the client was told."""
        return [m["usageMetadata"] for m in self.heard if "usageMetadata" in m]

    def calls(self) -> list[Message]:
        """The functions that the model called."""
        return [c for m in self.heard for c in m.get("toolCall", {}).get("functionCalls", [])]

    def texts(self, name: str) -> str:
        """The words of all transcriptions of this name."""
        contents = (m.get("serverContent", {}) for m in self.heard)
        return "".join(content[name]["text"] for content in contents if name in content)
