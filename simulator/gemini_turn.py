"""Generates one turn of Gemini Live: its frames in the provider's order, sizes and pace."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from itertools import repeat
from typing import Final

from simulator import gemini_frames as frames
from simulator.audio import milliseconds
from simulator.conversation import Conversation, Item
from simulator.faults import Faults
from simulator.gemini_client import Setup
from simulator.gemini_items import called
from simulator.generation import Generation, Pace, chosen_tool, pieces
from simulator.openai_events import Event, make_id
from simulator.tokens import Tokens, gemini_audio_tokens, text_tokens

PCM: Final = "audio/pcm"
_QUERIES: Final = ("What was asked?", "What is known of it?", "What was asked?")
THOUGHT_TOKENS: Final = 28
# Models whose audio comes in pieces of 62 ms; from the others it comes in pieces of 200 ms.
_SMALL_PIECES: Final = "2.5-native-audio", "2.5-flash-native-audio"
WORDS_AT_ONCE: Final = 3  # sent with every third piece of audio
_SMALL_MS: Final = 62
_PIECE_MS: Final = 200


class GeminiTurn(Generation):
    """One answer of the model. ``calls`` are the ids of the tool calls that it waits for.

    ``said`` is its item in the conversation.

    ``before`` is the part of the same turn that called the tools; its cost is added. ``tool`` are
    the tokens of their answers. ``heard`` is the transcript of the user's speech, or empty.
    """

    def __init__(
        self,
        setup: Setup,
        conversation: Conversation,
        history: Tokens,
        *,
        heard: str,
        before: "GeminiTurn | None",
        tool: int,
        is_vertex: bool,
        pace: Pace,
        faults: Faults,
        cached_before: int,
        send: Callable[[Event], Awaitable[None]],
        on_audio: Callable[[bytes], None],
    ) -> None:
        super().__init__(pace, faults, tokens_max=setup.tokens_max)
        self._setup = setup
        self._conversation = conversation
        self._history = history
        self._heard = heard
        self._before = before
        self._tool = tool + (before.tool if before is not None else 0)
        self._is_vertex = is_vertex
        self._cached_before = cached_before
        self._send = send
        self._on_audio = on_audio
        self._thoughts = before.thoughts if before is not None else 0
        self.queries: list[str] = []  # searches, as the last frame reports them
        self.calls: list[str] = []
        self.said = {"id": make_id("content"), "type": "message", "role": "assistant"}
        self.id: str = before.id if before is not None else make_id("turn")
        self.is_generated = False  # and generationComplete sent, as it is still being played
        self._spoken_ms = 0
        self._spoken_at_s: float | None = None  # when its first audio was sent
        self.began_at: float = before.began_at if before is not None else time.time()

    @property
    def tool(self) -> int:
        """Tokens of the tools' answers so far."""
        return self._tool

    @property
    def thoughts(self) -> int:
        """Tokens of the thoughts so far."""
        return self._thoughts

    @property
    def cost(self) -> Tokens:
        """The tokens that the whole turn generated, the part before its tools included."""
        return self.made + (self._before.cost if self._before is not None else Tokens())

    @property
    def usage(self) -> Event:
        """The usageMetadata of the turn so far."""
        return frames.usage(
            self._history,
            self.cost,
            tool=self._tool,
            thoughts=self._thoughts,
            cached_before=self._cached_before,
            is_vertex=self._is_vertex,
            is_spoken=self._setup.is_spoken,
        )

    def grounding(self) -> Event:
        """The groundingMetadata. Later frames repeat the queries, and have one of them twice.

        A meter has to count each query of a turn once.
        """
        if not self._setup.is_grounded or self.calls:
            return {}
        self.queries = list(_QUERIES if self.queries else _QUERIES[:2])
        return {"groundingMetadata": {"webSearchQueries": self.queries}}

    async def generate(self) -> None:
        """Send everything up to generationComplete."""
        if self._heard and self._setup.hears_text:
            for number, word in enumerate(self._heard.split(" ")):
                text = word if not number else f" {word}"
                await self._send(frames.content(inputTranscription={"text": text}))
        if self._setup.is_thinking:
            self._thoughts += THOUGHT_TOKENS
            await self._part({"text": frames.THOUGHT, "thought": True})
        self.prepare(self._conversation, self._setup.told)
        name = chosen_tool(self._setup.tools, "auto", self._conversation)
        if name is not None:
            await self._call(name)
            return
        self._conversation.add(Item(self.said, Tokens()))  # its tokens are known at its end
        await (self._speak() if self._setup.is_spoken else self._write())

    async def play(self) -> None:
        """Wait as the real provider does, until the client can have played the answer, or the user
        interrupts it.
        """
        if self._spoken_at_s is None or self.is_cut:
            return
        self.is_generated = True
        await self._send(frames.content(generationComplete=True))
        played_at_s = self._spoken_at_s + self._spoken_ms / 1000
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(played_at_s):
                await self._cancelled.wait()

    async def _speak(self) -> None:
        audio = self.audio(self._conversation, heard_as=PCM, spoken_as=PCM)
        words = self.spoken(milliseconds(len(audio), PCM))
        said, self._spoken_ms = 0, milliseconds(len(audio), PCM)
        self._spoken_at_s = asyncio.get_running_loop().time()
        is_small = any(name in self._setup.model for name in _SMALL_PIECES) and not self._is_vertex
        for number, (piece, played_ms) in enumerate(
            pieces(audio, PCM, repeat(_SMALL_MS if is_small else _PIECE_MS))
        ):
            due = 0 if number % WORDS_AT_ONCE else WORDS_AT_ONCE
            await self._speak_piece(piece, words[said : said + due], is_first=not number)
            said += due
            self._on_audio(piece)
            self.made = Tokens(audio=gemini_audio_tokens(played_ms))
            if await self.pause(milliseconds(len(piece), PCM)):
                return
        rest = " ".join(words[said:])
        if rest:
            await self._transcribe({"text": f" {rest}"})
        if self._is_vertex:
            await self._transcribe({"finished": True})

    async def _speak_piece(self, piece: bytes, said: list[str], *, is_first: bool) -> None:
        """Words and a piece of audio; the newest models send both at once."""
        turn = frames.model_turn(frames.audio_part(piece), is_vertex=self._is_vertex)
        text = " ".join(said)
        words = {"text": text if is_first else f" {text}"} if said else {}
        if self._setup.speaks_text and words and "gemini-3" in self._setup.model:
            said_and_found = {"outputTranscription": words, **self.grounding()}
            await self._send(frames.content(modelTurn=turn, **said_and_found))
            return
        if words or self._is_vertex:
            await self._transcribe(words)
        await self._send(frames.content(modelTurn=turn, **self.grounding()))

    async def _transcribe(self, words: Event) -> None:
        if self._setup.speaks_text:
            await self._send(frames.content(outputTranscription=words))

    async def _write(self) -> None:
        text = ""
        for word in self.written():
            delta = word if not text else f" {word}"
            await self._part({"text": delta})
            text += delta
            self.made = Tokens(text=text_tokens(text))
            if await self.pause(50):
                return

    async def _call(self, name: str) -> None:
        if await self.pause(50):
            return
        arguments = self.arguments()
        call: Event = {"id": make_id("function-call"), "name": name, "args": arguments}
        self.calls.append(call["id"])
        self._conversation.add(called(call))
        if self._is_vertex:
            del call["id"]
        self.made = Tokens(text=text_tokens(str(arguments)))
        await self._send({"toolCall": {"functionCalls": [call]}})

    async def _part(self, part: Event) -> None:
        turn = frames.model_turn(part, is_vertex=self._is_vertex)
        grounding = {} if "thought" in part else self.grounding()
        await self._send(frames.content(modelTurn=turn, **grounding))
