"""One session of the simulated Gemini Live: client messages in, server messages out."""

import asyncio
import contextlib
import dataclasses
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from simulator.audio import AudioBuffer, Heard, Resampler, VoiceSettings, milliseconds
from simulator.conversation import Conversation
from simulator.faults import Faults
from simulator.gemini_client import (
    Setup,
    blob,
    field,
    objects,
    rate_of,
    read,
    system_of,
    text_of,
    tokens_of,
    tool_names,
)
from simulator.gemini_errors import GeminiError
from simulator.gemini_items import answered, check_answer, items_of, message_of, spoken
from simulator.gemini_transcriber import GeminiTranscriber, only_transcribes
from simulator.gemini_turn import PCM
from simulator.gemini_turns import GeminiTurns
from simulator.generation import Pace
from simulator.openai_events import Event, make_id
from simulator.resumable_conversations import Memory
from simulator.session_effects import Outside

GO_AWAY_LEFT_S: Final = 0.5
GOING_AWAY: Final = 1001
# Models take contextUpdate from Gemini 3.8 on.
_VERSION: Final = re.compile(r"gemini-(\d)\.(\d)")


class GeminiSession:
    """The state of one connection.

    ``configure`` is called with the model that the setup names and returns the session's faults
    and pace, which a model's name may set (``sim-usage-null``).
    """

    def __init__(
        self,
        *,
        configure: Callable[[str], tuple[Faults, Pace]],
        memory: Memory,
        is_vertex: bool,
        outside: Outside,
        session_id: str,
    ) -> None:
        self._configure = configure
        self._memory = memory
        self._is_vertex = is_vertex
        self._outside = outside
        self._send = outside.send
        self._hang_up = outside.hang_up
        self._session_id = session_id
        self._conversation = Conversation()
        self._buffer = AudioBuffer()
        self._resamplers: dict[int, Resampler] = {}
        self._is_active = False  # between activityStart and activityEnd
        self._is_activity_told = False
        self._images = 0
        self._turns: GeminiTurns | None = None
        self._transcriber: GeminiTranscriber | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._handlers: Mapping[str, Callable[[Event], Awaitable[None]]] = {
            "setup": self._set_up,
            "clientContent": self._take_content,
            "realtimeInput": self._take_realtime,
            "toolResponse": self._take_tool_response,
            "contextUpdate": self._update_context,
        }

    async def open(self) -> None:
        """Send nothing: Gemini waits for the client's setup message."""

    async def receive(self, data: str | bytes) -> None:
        """Serve one message of the client; its mistakes close the session."""
        try:
            kind, body = read(data)
            if (kind == "setup") == (self._turns is not None):
                raise GeminiError("setup must be the first message and cannot be sent again.")
            await self._handlers[kind](body)
        except GeminiError as exc:
            await self._hang_up(exc.code, str(exc))

    async def expire(self) -> tuple[int, str]:
        """Returns the close code and reason of a session that has lasted too long.

        Gemini Live has no error messages, so nothing is sent before the close.
        """
        return 1011, "Deadline expired before operation could complete."

    async def close(self) -> None:
        """The client is gone: stop generating."""
        if self._leaving is not None:
            self._leaving.cancel()
            await asyncio.gather(self._leaving, return_exceptions=True)
        if self._turns is not None:
            await self._turns.close()
        if self._transcriber is not None:
            self._transcriber.close()

    # --- settings ---------------------------------------------------------------------------------

    async def _set_up(self, body: Event) -> None:
        setup = Setup.of(body)
        try:
            faults, pace = self._configure(setup.model)
        except ValueError as exc:
            raise GeminiError(str(exc)[:120]) from exc
        if faults.usage_style is not None:
            self._is_vertex = faults.usage_style == "vertex"
        if setup.handle:
            found = self._memory.find(setup.handle)
            if found is None:
                raise GeminiError("BidiGenerateContent session not found", code=1008)
            if found.is_in_use():  # Google's close code and text
                raise GeminiError("Internal error encountered.", code=1011)
            self._conversation = Conversation(items=dict(found.items))
        self._is_activity_told = faults.is_activity_told
        self._conversation.may_resume = setup.is_resumable
        self._conversation.is_in_use = self._outside.is_open
        self._turns = GeminiTurns(
            setup,
            self._conversation,
            pace=pace,
            faults=faults,
            is_vertex=self._is_vertex,
            outside=self._outside,
            when_over=self._offer_resumption,
        )
        if only_transcribes(setup.model):
            self._transcriber = GeminiTranscriber(setup.model, self._outside)
        complete = {"sessionId": self._session_id} if self._is_vertex else {}
        await self._send({"setupComplete": complete})
        await self._offer_resumption()
        if faults.go_away_s is not None:
            leaving = self._leave(faults.go_away_s, faults.close_code or GOING_AWAY)
            self._leaving = asyncio.get_running_loop().create_task(leaving)

    async def _update_context(self, body: Event) -> None:
        version = _VERSION.search(self._settings.model)
        if version is not None and (int(version[1]), int(version[2])) < (3, 8):
            raise GeminiError
        if "tools" in body:
            # An object around the list, unlike the setup's: an empty list takes all tools away.
            tools = tool_names(field(body, "tools", dict, {}))
            self._settings = dataclasses.replace(self._settings, tools=tools)
        if "systemInstruction" in body:
            told = system_of(body)
            self._settings = dataclasses.replace(
                self._settings, system=tokens_of(told), told=text_of(told)
            )

    async def _offer_resumption(self) -> None:
        if self._settings.is_resumable:
            handle = make_id("handle")
            # What is said after the handle was issued, it does not bring back.
            now = dataclasses.replace(self._conversation, items=dict(self._conversation.items))
            self._memory.keep(handle, now)
            await self._send({"sessionResumptionUpdate": {"newHandle": handle, "resumable": True}})

    async def _leave(self, after_s: float, code: int) -> None:
        with contextlib.suppress(ConnectionError):
            await asyncio.sleep(after_s)
            await self._send({"goAway": {"timeLeft": f"{GO_AWAY_LEFT_S}s"}})
            await asyncio.sleep(GO_AWAY_LEFT_S)
            await self._hang_up(code, "The session is over.")

    @property
    def _talk(self) -> GeminiTurns:
        assert self._turns is not None  # receive() refuses other messages before the setup
        return self._turns

    @property
    def _settings(self) -> Setup:
        return self._talk.setup

    @_settings.setter
    def _settings(self, setup: Setup) -> None:
        self._talk.setup = setup

    # --- the user's audio and text ----------------------------------------------------------------

    async def _take_content(self, body: Event) -> None:
        if self._transcriber is not None:
            raise GeminiError
        for content in objects(body, "turns"):
            for item in items_of(content):
                if item.body.get("role") != "user":
                    self._conversation.mark_answered()
                self._conversation.add(item)
        await self._talk.interrupt()
        if field(body, "turnComplete", bool, False):
            await self._talk.answer()

    async def _take_realtime(self, body: Event) -> None:
        if "activityStart" in body:
            self._is_active = True
            await self._talk.interrupt()
        inputs = [*objects(body, "mediaChunks"), *objects(body, "audio"), *objects(body, "video")]
        for part in inputs:
            mime_type, data = blob(part)
            if mime_type.startswith("audio/"):
                await self._listen(self._resampler(rate_of(mime_type)).feed(data))
            else:
                self._images += 1
        if text := field(body, "text", str, ""):
            self._conversation.add(message_of("user", text, images=self._taken_images()))
            await self._talk.interrupt()
            await self._talk.answer()
        if "activityEnd" in body or (body.get("audioStreamEnd") and self._buffer.is_speaking):
            await self._spoken()

    def _resampler(self, rate: int) -> Resampler:
        return self._resamplers.setdefault(rate, Resampler(rate))

    async def _listen(self, pcm: bytes) -> None:
        if self._transcriber is not None:
            await self._transcriber.listen(pcm)
            return
        voice: VoiceSettings | None = self._settings.voice
        if voice is None and not self._is_active:
            return
        while heard := self._buffer.append(pcm, voice, PCM):
            pcm = b""  # audio after the end of speech is still in the buffer's window
            for notice in heard:
                await self._tell(notice)
                await (self._talk.interrupt() if notice is Heard.SPEECH_STARTED else self._spoken())

    async def _tell(self, notice: Heard) -> None:
        """Tell the client what was noticed of its speech, where a test asks for it."""
        if self._is_activity_told:
            kind = "ACTIVITY_START" if notice is Heard.SPEECH_STARTED else "ACTIVITY_END"
            offset = f"{self._buffer.position_ms(PCM) / 1000:.3f}s"
            told = {"voiceActivityType": kind, "audioOffset": offset}
            await self._send({"voiceActivity": told})

    async def _spoken(self) -> None:
        """Answer the user's speech, which has ended."""
        self._is_active = False
        audio = self._buffer.take(PCM)
        if not audio:
            return
        duration_ms = milliseconds(len(audio), PCM)
        item = spoken(audio, duration_ms, images=self._taken_images())
        self._conversation.add(item)
        await self._talk.answer(heard=item.heard)

    def _taken_images(self) -> int:
        """The pictures since the user's last item."""
        images, self._images = self._images, 0
        return images

    async def _take_tool_response(self, body: Event) -> None:
        answers = [answered(response) for response in objects(body, "functionResponses")]
        if not answers:
            raise GeminiError
        for answer in answers:
            check_answer(answer, self._conversation)
        await self._talk.answer_with_tool(answers)
