"""The transcripts of the user's audio: sent before, during or after the response.

A streaming transcriber also delivers words of audio that is not committed, but it reports the usage
of committed audio only. Audio that was transcribed without a reported usage is billed all the same,
so the usage log has it, by its length.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from simulator import charges
from simulator import openai_events as events
from simulator.conversation import Item
from simulator.faults import Faults
from simulator.openai_events import Event, make_id
from simulator.tokens import transcription_usage

KIND: Final = "conversation.item.input_audio_transcription"
# Delay of a transcript after the speech, when there is no response.
ALONE_S: Final = 0.2
STREAMING: Final = ("gpt-realtime-whisper", "gpt-live-transcribe")
WORD_MS: Final = 400


class Transcriber:
    """Sends the transcripts of one session at the place that its faults name.

    ``emit`` sends an event and returns the messages that were sent; ``log_usage`` logs a usage that
    was sent, or audio that is billed without one.
    """

    def __init__(
        self,
        faults: Faults,
        *,
        emit: Callable[[Event], Awaitable[list[Event | bytes]]],
        log_usage: Callable[[Event], None],
        is_replying: Callable[[], bool],
    ) -> None:
        self._when = faults.transcription
        self._usage = faults.transcribed
        self._emit = emit
        self._log_usage = log_usage
        self._is_replying = is_replying
        self._waiting: list[tuple[Item, int, str]] = []
        self._timers: set[asyncio.Task[None]] = set()
        self._streaming = ""  # the streaming transcriber's model
        self._streamed_ms = 0
        self._words = 0
        self.item_id: str | None = None  # the item of the streamed words

    async def listen(self, heard_ms: int, wanted: Any) -> None:
        """``heard_ms`` of audio are in the buffer: a streaming transcriber sends its words."""
        model = str(wanted.get("model")) if isinstance(wanted, dict) else ""
        if not model.startswith(STREAMING):
            return
        self._streaming, self._streamed_ms = model, heard_ms
        while self._words < heard_ms // WORD_MS:
            self._words += 1
            self.item_id = self.item_id or make_id("item")
            place = {"item_id": self.item_id, "content_index": 0}
            await self._emit(events.padded_delta(f"{KIND}.delta", "word ", **place))

    def drop(self) -> None:
        """The buffer was cleared: log its audio, whose words were sent and are never reported."""
        if self.item_id is not None:
            self._owe(self.item_id, self._streamed_ms, self._streaming)
        self._forget()

    async def transcribe(self, item: Item, duration_ms: int, wanted: Any) -> None:
        """Transcribe an item's audio if ``wanted``, the session's setting, has a transcriber."""
        if not isinstance(wanted, dict):
            return
        self._waiting.append((item, duration_ms, str(wanted.get("model"))))
        if self._when == "before":
            await self._flush()
        else:
            timer = asyncio.get_running_loop().create_task(self._flush_alone())
            self._timers.add(timer)
            timer.add_done_callback(self._timers.discard)

    async def reached(self, place: str) -> None:
        """The response has reached ``place``: ``between`` its beginning and end, or ``after``."""
        if place == self._when:
            await self._flush()

    async def close(self) -> None:
        """Stop: transcripts that were not sent yet are dropped."""
        for timer in (timers := list(self._timers)):
            timer.cancel()
        await asyncio.gather(*timers, return_exceptions=True)
        self.drop()

    async def _flush_alone(self) -> None:
        await asyncio.sleep(ALONE_S)
        try:
            if not self._is_replying():
                await self._flush()
        except ConnectionError:
            pass

    async def _flush(self) -> None:
        while self._waiting:
            await self._send(*self._waiting.pop(0))

    async def _send(self, item: Item, duration_ms: int, model: str) -> None:
        transcript = item.heard
        place = {"item_id": item.id, "content_index": 0}
        if item.id == self.item_id:  # its words have been sent as they were spoken
            transcript = " ".join(["word"] * self._words)
            self._forget()
        else:
            await self._emit(events.padded_delta(f"{KIND}.delta", transcript, **place))
        completed = events.event(f"{KIND}.completed", **place, transcript=transcript)
        if self._usage != "missing":
            counted = transcription_usage(model, duration_ms, transcript)
            completed["usage"] = None if self._usage == "null" else counted
        for sent in await self._emit(completed):
            if isinstance(sent, dict) and sent.get("usage") is None:
                self._owe(item.id, duration_ms, model)
            elif isinstance(sent, dict):
                self._log_usage(
                    {
                        "kind": "transcription",
                        "response_id": item.id,
                        "transcription_model": model,
                        "usage": sent["usage"],
                        "charge": charges.for_transcription(sent["usage"]),
                    }
                )

    def _owe(self, item_id: str, heard_ms: int, model: str) -> None:
        """Log words that were sent without a usage, by the length of their audio."""
        self._log_usage(
            {
                "kind": "estimated_transcription",
                "response_id": item_id,
                "transcription_model": model,
                "usage": None,
                "charge": charges.charge(0, 0, billed_ms=heard_ms),
            }
        )

    def _forget(self) -> None:
        self.item_id, self._words = None, 0
