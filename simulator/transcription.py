"""The transcripts of what the user said: before, in the middle of, or after the response."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from simulator import charges
from simulator import openai_events as events
from simulator.conversation import Item
from simulator.openai_events import Event
from simulator.tokens import transcription_usage

KIND: Final = "conversation.item.input_audio_transcription"
# Without a response, a transcript comes so long after the speech.
ALONE_S: Final = 0.2


class Transcriber:
    """Sends the transcripts of one session at the place that ``when`` names.

    ``emit`` sends an event and returns what went on the wire; ``log_usage`` notes a usage that did.
    """

    def __init__(
        self,
        when: str,
        *,
        emit: Callable[[Event], Awaitable[list[Event | bytes]]],
        log_usage: Callable[[Event], None],
        is_replying: Callable[[], bool],
    ) -> None:
        self._when = when
        self._emit = emit
        self._log_usage = log_usage
        self._is_replying = is_replying
        self._waiting: list[tuple[Item, int, str]] = []
        self._timers: set[asyncio.Task[None]] = set()

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
        """What was not sent yet is never sent."""
        for timer in (timers := list(self._timers)):
            timer.cancel()
        await asyncio.gather(*timers, return_exceptions=True)

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
        await self._emit(events.padded_delta(f"{KIND}.delta", transcript, **place))
        counted = transcription_usage(model, duration_ms, transcript)
        completed = events.event(f"{KIND}.completed", **place, transcript=transcript, usage=counted)
        for sent in await self._emit(completed):
            if isinstance(sent, dict) and "usage" in sent:
                self._log_usage(
                    {
                        "kind": "transcription",
                        "response_id": item.id,
                        "transcription_model": model,
                        "usage": sent["usage"],
                        "charge": charges.for_transcription(sent["usage"]),
                    }
                )
