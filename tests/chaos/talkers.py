"""Clients that talk all the time, in each protocol, and what they saw.

What reached the provider is read in what it says: the simulator's ``recall`` repeats the
conversation.
"""

import asyncio
import base64
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.simulator_client_gemini import PATH as GEMINI_PATH
from tests.support.speech import tone

Event = dict[str, Any]
TURN_S = 40.0  # a dial that broke is tried again after up to four seconds
# Of one session: a conversation keeps the newest 400 items, and 256 KiB of them.
TURNS_MAX = 40
SPOKEN_EACH = 3  # every so many turns are spoken
MOVING = ("gemini", "openai")  # who serves a session that may move, in order of choice
CALM_S = 1.0  # before the last turn: longer than a dial takes
_TRANSCRIBED = "conversation.item.input_audio_transcription.completed"
# Words of a text, and what the simulators hear in speech of a length. Audio that is converted may
# lose a sample at its end.
_SAID = re.compile(r"said-(\d+)-end|[Ss]peech of (\d+) m(?:illi)?s")
# Audio that was sent to a provider that is gone cannot be committed at the next one.
_LOST_AUDIO = "input_audio_buffer_commit_empty"


@dataclass
class Talker:
    """A client, and what it saw. A subclass for each protocol."""

    number: int
    is_written: bool
    has_begun: bool = False
    sessions: int = 0
    turns: int = 0
    """Of the session; so are the next two."""
    said: list[str] = field(default_factory=list)
    """What it told the provider, in order: the number of a text, or the length of a speech."""
    unheard: set[str] = field(default_factory=set)
    """Speech of which no transcript came: audio is not kept, so a cut may take it away."""
    statuses: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    """Of the responses that it heard to their end."""
    errors: list[Event] = field(default_factory=list)
    closed: str = ""
    mistaken: str = ""
    """What the provider recalled otherwise than it was said, the first time."""

    provider: ClassVar = "gemini"
    path: ClassVar = "/v1/realtime"
    headers: ClassVar[dict[str, str]] = {}
    speaks: ClassVar = True
    """Some of its turns are spoken."""

    @property
    def account(self) -> str:
        """Its account."""
        return f"a{self.number}"

    @property
    def model(self) -> str:
        """The model that it talks to: one that repeats what was said."""
        return f"sim-recall,pace-20,served-{self.account}"

    @property
    def asked(self) -> str:
        """What it calls this model."""
        return self.model

    @property
    def models(self) -> str:
        """What the models file says of it."""
        return ""

    async def talk(self, address: str, key: str, *, over: asyncio.Event) -> None:
        """One session after the other until it is ``over``; the last turn is undisturbed."""
        query = f"model={self.asked}&provider={self.provider}&rs_key={key}"
        url = f"ws://{address}{self.path}?{query}"
        while not (over.is_set() or self.closed):
            self.turns, self.said, self.unheard, self.has_begun = 0, [], set(), False
            self.sessions += 1
            errors = len(self.errors)
            async with connect(url, max_size=None, additional_headers=self.headers) as socket:
                try:
                    await self._session(socket, over)
                except ConnectionClosed as exc:
                    # A first dial is tried again for 10 s; where nothing is translated, not.
                    if self.has_begun:
                        self.closed = str(exc)
                    else:
                        del self.errors[errors:]

    async def _session(self, socket: ClientConnection, over: asyncio.Event) -> None:
        await self._begin(socket)
        while self.turns < TURNS_MAX and not over.is_set():
            await self._turn(socket)
        if over.is_set():
            await asyncio.sleep(CALM_S)
            await self._turn(socket)

    async def _turn(self, socket: ClientConnection) -> None:
        """Say something, and hear the answer to its end, however that is."""
        self.turns += 1
        if self.speaks and self.turns % SPOKEN_EACH == 0:
            milliseconds = 200 + 10 * (self.turns // SPOKEN_EACH)
            said = self._spoken(base64.b64encode(tone(milliseconds / 1000)).decode())
            self.said.append(str(milliseconds))
            self.unheard.add(str(milliseconds))
        else:
            said = self._written(f"said-{self.turns}-end")
            self.said.append(str(self.turns))
        for event in said:
            await _send(socket, event)
        async with asyncio.timeout(TURN_S):
            await self._hear(socket)

    async def _begin(self, socket: ClientConnection) -> None:
        """Configure the session."""
        raise NotImplementedError

    def _spoken(self, audio: str) -> list[Event]:
        """What says something aloud, and asks for an answer."""
        raise NotImplementedError

    def _written(self, text: str) -> list[Event]:
        """What says something in writing, and asks for an answer."""
        raise NotImplementedError

    async def _hear(self, socket: ClientConnection) -> None:
        """Hear an answer to its end."""
        raise NotImplementedError

    def ended(self, status: str, tokens: int, told: str) -> None:
        """An answer ended: compare what the provider knows with what was said."""
        self.has_begun = True
        self.statuses[status] += 1
        if status == "completed":
            self.tokens += tokens
            self.compare(list(_in(told)))

    def compare(self, recalled: list[str]) -> None:
        """Note where the provider recalls something else than was said."""
        expected = [x for x in self.said if x not in self.unheard or x in recalled]
        if recalled != expected and not self.mistaken:
            lost, more = (
                Counter(expected) - Counter(recalled),
                Counter(recalled) - Counter(expected),
            )
            what = f"lost {sorted(lost)}, more {sorted(more)}"
            self.mistaken = f"{what}: said {expected}, recalled {recalled}"


class OpenAITalker(Talker):
    """Speaks OpenAI's protocol to Gemini."""

    async def _begin(self, socket: ClientConnection) -> None:
        await self._configure(socket)

    async def _configure(self, socket: ClientConnection) -> None:
        kinds = ["text"] if self.is_written else ["audio"]
        heard = {"turn_detection": None, "transcription": {"model": "whisper-1"}}
        session = {"type": "realtime", "output_modalities": kinds, "audio": {"input": heard}}
        await _send(socket, {"type": "session.update", "session": session})

    def _spoken(self, audio: str) -> list[Event]:
        return [
            {"type": "input_audio_buffer.append", "audio": audio},
            {"type": "input_audio_buffer.commit"},
            self._ask(),
        ]

    def _ask(self) -> Event:
        return {"type": "response.create"}

    def _written(self, text: str) -> list[Event]:
        content = [{"type": "input_text", "text": text}]
        item = {"type": "message", "role": "user", "content": content}
        return [{"type": "conversation.item.create", "item": item}, self._ask()]

    async def _hear(self, socket: ClientConnection) -> None:
        async for event in _events(socket):
            if event["type"] == "error":
                self._refused(event["error"])
            elif event["type"] == _TRANSCRIBED:
                self.unheard.difference_update(_in(event["transcript"]))
            elif event["type"] == "response.done" and self._is_mine(event):
                response = event["response"]
                parts = [p for item in response["output"] for p in item.get("content", [])]
                told = "".join(p.get("text") or p.get("transcript") or "" for p in parts)
                self.ended(response["status"], _tokens(event), told)
                return

    def _is_mine(self, _event: Event) -> bool:
        """Whether it is the end of the answer to what was said last."""
        return True

    def _refused(self, error: Event) -> None:
        self.errors.append(error)


class KeptTalker(OpenAITalker):
    """Speaks OpenAI's protocol to OpenAI."""

    provider = "openai"

    async def _begin(self, socket: ClientConnection) -> None:
        async with asyncio.timeout(TURN_S):
            while json.loads(await socket.recv())["type"] != "session.created":
                pass
        await self._configure(socket)

    def _ask(self) -> Event:
        return {"type": "response.create", "response": {"metadata": {"turn": str(self.turns)}}}

    def _is_mine(self, event: Event) -> bool:
        # One of which nothing was heard is closed, and asked for again.
        if event["response"]["metadata"] == {"turn": str(self.turns)}:
            return True
        self.tokens += _tokens(event)
        return False

    def _refused(self, error: Event) -> None:
        if error["code"] != _LOST_AUDIO:
            super()._refused(error)


class BetaTalker(KeptTalker):
    """Speaks OpenAI's beta to OpenAI."""

    headers: ClassVar[dict[str, str]] = {"OpenAI-Beta": "realtime=v1"}

    async def _configure(self, socket: ClientConnection) -> None:
        session = {
            "modalities": ["text"] if self.is_written else ["text", "audio"],
            "turn_detection": None,
            "input_audio_transcription": {"model": "whisper-1"},
        }
        await _send(socket, {"type": "session.update", "session": session})


class XaiTalker(KeptTalker):
    """Speaks OpenAI's protocol to xAI, which goes on with the conversation by itself. It only
    writes: xAI's transcripts do not tell one speech that was committed from another.
    """

    provider = "xai"
    speaks = False

    async def _configure(self, socket: ClientConnection) -> None:
        kinds = ["text"] if self.is_written else ["audio"]
        session = {"output_modalities": kinds, "resumption": {"enabled": True}}
        await _send(socket, {"type": "session.update", "session": session})


class GeminiTalker(Talker):
    """Speaks Gemini's protocol to OpenAI."""

    provider = "openai"
    path = GEMINI_PATH

    async def _begin(self, socket: ClientConnection) -> None:
        kinds = ["TEXT"] if self.is_written else ["AUDIO"]
        setup = {
            "model": f"models/{self.asked}", "generationConfig": {"responseModalities": kinds},
            "inputAudioTranscription": {}, "outputAudioTranscription": {},
            "realtimeInputConfig": {"automaticActivityDetection": {"disabled": True}},
            **self._more_setup(),
        }  # fmt: skip
        await _send(socket, {"setup": setup})
        async with asyncio.timeout(TURN_S):
            assert "setupComplete" in json.loads(await socket.recv())

    def _more_setup(self) -> Event:
        return {}

    def _spoken(self, audio: str) -> list[Event]:
        heard = {"data": audio, "mimeType": "audio/pcm;rate=24000"}
        said: list[Event] = [{"activityStart": {}}, {"audio": heard}, {"activityEnd": {}}]
        return [{"realtimeInput": one} for one in said]

    def _written(self, text: str) -> list[Event]:
        turns = [{"role": "user", "parts": [{"text": text}]}]
        return [{"clientContent": {"turns": turns, "turnComplete": True}}]

    async def _hear(self, socket: ClientConnection) -> None:
        told, status = "", "completed"
        async for message in _events(socket):
            content = message.get("serverContent", {})
            heard = content.get("inputTranscription", {}).get("text", "")
            self.unheard.difference_update(_in(heard))
            parts = content.get("modelTurn", {}).get("parts", [])
            told += "".join(part.get("text", "") for part in parts)
            told += content.get("outputTranscription", {}).get("text", "")
            status = "interrupted" if content.get("interrupted") else status
            if content.get("turnComplete"):
                tokens = message.get("usageMetadata", {}).get("totalTokenCount", 0)
                self.ended(status, tokens, told)
                return


class GeminiAtXaiTalker(GeminiTalker):
    """Speaks Gemini's protocol to xAI, which goes on with the conversation by itself."""

    provider = "xai"
    speaks = False


class KeptGeminiTalker(GeminiTalker):
    """Speaks Gemini's protocol to Gemini; one that hears answers aloud asks for handles."""

    provider = "gemini"

    def _more_setup(self) -> Event:
        return {} if self.is_written else {"sessionResumption": {}}


class MovingGeminiTalker(KeptGeminiTalker):
    """Speaks Gemini's protocol to whoever of its model's list serves: Gemini, or OpenAI."""

    provider = ""

    @property
    def asked(self) -> str:
        """See ``Talker``."""
        return f"gemini-{self.account}"

    @property
    def models(self) -> str:
        """Its part of the models file."""
        served = [f'{{provider = "{name}", model = "{self.model}"}}' for name in MOVING]
        return f'[models."{self.asked}"]\nproviders = [{", ".join(served)}]\n'


KINDS: tuple[type[Talker], ...] = (
    OpenAITalker, KeptTalker, BetaTalker, XaiTalker, GeminiTalker, GeminiAtXaiTalker,
    KeptGeminiTalker, MovingGeminiTalker,
)  # fmt: skip


def crowd(clients: int) -> list[Talker]:
    """So many clients: of each kind some, of which half are answered in writing."""
    return [KINDS[n % len(KINDS)](n, is_written=n // len(KINDS) % 2 == 0) for n in range(clients)]


def _in(line: str) -> Iterator[str]:
    """What a client said, in a line of what the provider recalls."""
    for text, milliseconds in _SAID.findall(line):
        yield text or str(round(int(milliseconds), -1))


def _tokens(event: Event) -> int:
    """What a response has cost; xAI says so beside it."""
    usage = event.get("usage") or event["response"].get("usage") or {}
    return int(usage.get("total_tokens", 0))


async def _events(socket: ClientConnection) -> AsyncIterator[Event]:
    while True:
        yield json.loads(await socket.recv())


async def _send(socket: ClientConnection, event: Event) -> None:
    await socket.send(json.dumps(event))
