"""The transcripts of what the user said: before, in the middle of, or after the response.

Streaming transcribers deliver words of audio that nobody has committed; they report what they used
only of what is committed. What they and others never report is owed all the same, and logged.
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
# Without a response, a transcript comes so long after the speech.
ALONE_S: Final = 0.2
STREAMING: Final = ("gpt-realtime-whisper", "gpt-live-transcribe")
WORD_MS: Final = 400


class Transcriber:
    """Sends the transcripts of one session at the place that its faults name.

    ``emit`` sends an event and returns what went on the wire; ``log_usage`` notes a usage that did,
    and what is owed without one.
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
        self._streaming = ""  # who streams
        self._streamed_ms = 0
        self._words = 0
        self.item_id: str | None = None  # of the words that were streamed

    async def listen(self, heard_ms: int, wanted: Any) -> None:
        """So much audio is in the buffer, which only the client commits."""
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
        """The buffer was cleared; the words of its audio had been delivered already."""
        if self.item_id is not None:
            self._owe(self.item_id, self._streamed_ms, self._streaming)
        self._forget()

    async def transcribe(self, item: Item, duration_ms: int, wanted: Any) -> None:
        """What was said is to be transcribed, when the session ``wanted`` it."""
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
        """The response is at this place: ``between`` its beginning and its end, or ``after``."""
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
        transcript = f"Speech of {duration_ms} milliseconds."
        place = {"item_id": item.id, "content_index": 0}
        if item.id == self.item_id:
            self._forget()  # its words are delivered
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
        """Log words that were delivered without a usage by the length of their audio."""
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
