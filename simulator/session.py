"""One session of the simulated OpenAI Realtime: client events in, server events out.

It uses OpenAI GA's events; its dialect translates those that come from and go to the connection.
``responses`` generates the responses.
"""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from simulator import openai_events as events
from simulator.audio import AudioBuffer, Heard, VoiceSettings, milliseconds
from simulator.client_events import ClientError, check, decode, event_id
from simulator.conversation import Conversation, Item, client_item, spoken_item
from simulator.dialect import Dialect
from simulator.faults import Faults
from simulator.generation import Pace
from simulator.openai_events import Event, make_id
from simulator.openai_fields import check_fields
from simulator.responses import Responses, Sink
from simulator.xai import ping

COMMIT_MS_MIN: Final = 100
GOING_AWAY: Final = 1001
EXPIRED: Final = "Your session hit the maximum duration of 60 minutes."
Handler = Callable[[Event], Awaitable[None]]


class Session:
    """The state of one connection.

    ``send`` writes an event or raw bytes, ``hang_up`` closes the connection with a code.
    ``log_usage`` logs a usage that was sent, ``log_abandoned`` a response that began and was never
    reported. ``conversation`` is one that this session continues. With ``is_transcription`` the
    session has no model and makes no response.
    """

    def __init__(
        self,
        *,
        model: str,
        is_transcription: bool = False,
        pace: Pace,
        faults: Faults,
        send: Callable[[Any], Awaitable[None]],
        hang_up: Callable[[int], Awaitable[None]],
        log_usage: Sink,
        log_abandoned: Sink,
        on_audio: Callable[[bytes], None],
        session_id: str,
        dialect: Dialect | None = None,
        conversation: Conversation | None = None,
    ) -> None:
        self._send = send
        self._dialect = dialect or Dialect()
        self._is_transcription = is_transcription
        self._session = (
            events.transcription_session(session_id)
            if is_transcription
            else events.default_session(session_id, faults.served or model)
        )
        self._conversation = conversation or Conversation()
        self._buffer = AudioBuffer()
        self._speech_item_id = ""
        self._pinging: asyncio.Task[None] | None = None
        self._responses = Responses(
            self._session,
            self._conversation,
            pace=pace,
            faults=faults,
            dialect=self._dialect,
            emit=self._emit,
            hang_up=hang_up,
            log_usage=log_usage,
            log_abandoned=log_abandoned,
            on_audio=on_audio,
        )
        self._handlers: Mapping[str, Handler] = {
            "session.update": self._update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
            "conversation.item.create": self._create_item,
            "conversation.item.delete": self._delete_item,
            "conversation.item.retrieve": self._retrieve_item,
            "conversation.item.truncate": self._truncate_item,
            "response.create": self._create_response,
            "response.cancel": self._cancel_response,
        }

    def greeting(self) -> list[Event]:
        """The first events of a connection."""
        return [events.event("session.created", session=self._session)]

    async def open(self) -> None:
        """Greet the client."""
        for message in self.greeting():
            await self._emit(message)
        for message in self._dialect.greeting(self._conversation):
            await self._send(message)
        if self._dialect.ping_s is not None:
            self._pinging = asyncio.get_running_loop().create_task(self._ping(self._dialect.ping_s))

    async def receive(self, data: str | bytes) -> None:
        """Serve one message of the client."""
        if isinstance(data, bytes) and self._takes_binary:
            await self._listen(data)
            return
        name = None
        try:
            message = self._dialect.inward(decode(data))
            name = event_id(message)
            check(message)
            if self._dialect.is_strict:
                check_fields(message)
            await self._handlers[message["type"]](message)
        except ClientError as exc:
            await self._emit(
                events.error(str(exc), code=exc.code, param=exc.param, client_event_id=name)
            )

    async def expire(self) -> tuple[int, str]:
        """Send ``session_expired``; returns the close code and reason that follow."""
        await self._emit(
            events.error(EXPIRED, code="session_expired", param=None, client_event_id=None)
        )
        return GOING_AWAY, EXPIRED

    async def close(self) -> None:
        """Called once the client is gone: stop what is in progress."""
        if self._pinging is not None:
            self._pinging.cancel()
            await asyncio.gather(self._pinging, return_exceptions=True)
        await self._responses.close()

    async def _emit(self, event: Event) -> list[Event | bytes]:
        """Send an event of GA in the dialect's form; returns the messages that were sent."""
        messages = self._dialect.outward(event)
        for message in messages:
            await self._send(message)
        return messages

    async def _ping(self, every_s: float) -> None:
        try:
            while True:
                await asyncio.sleep(every_s)
                await self._send(ping())
        except ConnectionError:
            pass

    # --- session and items ------------------------------------------------------------------------

    async def _update(self, message: Event) -> None:
        fixed = {"id", "object", "model", "expires_at"}  # a session's model never changes
        _merge(self._session, {k: v for k, v in message["session"].items() if k not in fixed})
        resumption = self._session.get("resumption")
        is_enabled = isinstance(resumption, dict) and resumption.get("enabled") is True
        self._conversation.may_resume = is_enabled
        await self._emit(events.event("session.updated", session=self._session))

    async def _create_item(self, message: Event) -> None:
        wanted = message["item"]
        if wanted.get("id") in self._conversation.items:
            raise ClientError(
                "item_create_duplicate_item_id", f"Item '{wanted['id']}' exists.", "item.id"
            )
        try:
            item = client_item(wanted, self._input_format)
        except ValueError as exc:
            raise ClientError("invalid_value", str(exc), "item.content") from exc
        if item.body.get("role") == "assistant" or item.body["type"].startswith("function_call"):
            self._conversation.mark_answered()
        self._check_call(item)
        await self._add(item)

    def _check_call(self, item: Item) -> None:
        """An output belongs to a call in the conversation."""
        if item.body["type"] == "function_call_output" and self._dialect.is_strict:
            name = item.body.get("call_id")
            bodies = [other.body for other in self._conversation.items.values()]
            if not any(x["type"] == "function_call" and x.get("call_id") == name for x in bodies):
                message = f"Tool call ID '{name}' not found in conversation."
                raise ClientError("invalid_tool_call_id", message, "item.call_id")

    async def _add(self, item: Item) -> None:
        previous = self._conversation.last_id
        self._conversation.add(item)
        for kind in ("conversation.item.added", "conversation.item.done"):
            await self._emit(events.event(kind, previous_item_id=previous, item=item.body))

    async def _delete_item(self, message: Event) -> None:
        item = self._find(message, "item_delete_invalid_item_id")
        del self._conversation.items[item.id]
        await self._emit(events.event("conversation.item.deleted", item_id=item.id))

    async def _retrieve_item(self, message: Event) -> None:
        item = self._find(message, "item_retrieve_invalid_item_id")
        await self._emit(events.event("conversation.item.retrieved", item=item.body))

    async def _truncate_item(self, message: Event) -> None:
        item = self._find(message, "item_truncate_invalid_item_id")
        truncated = events.event(
            "conversation.item.truncated",
            item_id=item.id,
            content_index=message.get("content_index", 0),
            audio_end_ms=message.get("audio_end_ms", 0),
        )
        await self._emit(truncated)

    def _find(self, message: Event, code: str) -> Item:
        item = self._conversation.items.get(message["item_id"])
        if item is None:
            raise ClientError(code, f"Item '{message['item_id']}' does not exist.", "item_id")
        return item

    # --- audio in ---------------------------------------------------------------------------------

    @property
    def _input_format(self) -> str:
        return str(self._session["audio"]["input"]["format"]["type"])

    @property
    def _wanted(self) -> Any:
        """The session's ``audio.input.transcription``: the transcriber, or None."""
        return self._session["audio"]["input"].get("transcription")

    @property
    def _takes_binary(self) -> bool:
        transport = self._session["audio"]["input"].get("transport")
        return self._dialect.takes_binary_audio and transport == "binary"

    @property
    def _voice(self) -> VoiceSettings | None:
        return VoiceSettings.of(self._session["audio"]["input"]["turn_detection"])

    async def hear(self, data: bytes) -> None:
        """Take audio of a call, which does not come in a client event."""
        await self._listen(data)

    async def _append(self, message: Event) -> None:
        try:
            data = base64.b64decode(message["audio"], validate=True)
        except ValueError as exc:
            raise ClientError("invalid_value", "Expected base64 audio.", "audio") from exc
        await self._listen(data)

    async def _listen(self, data: bytes) -> None:
        voice = self._voice
        if voice is None:
            self._buffer.append(data, voice, self._input_format)
            heard_ms = milliseconds(len(self._buffer.audio), self._input_format)
            await self._responses.transcriber.listen(heard_ms, self._wanted)
            return
        while heard := self._buffer.append(data, voice, self._input_format):
            data = b""  # audio after the end of speech is still in the buffer's window
            for notice in heard:
                await (self._started(voice) if notice is Heard.SPEECH_STARTED else self._stopped())

    async def _started(self, voice: VoiceSettings | None) -> None:
        self._speech_item_id = make_id("item")
        await self._emit(
            events.event(
                "input_audio_buffer.speech_started",
                audio_start_ms=self._buffer.position_ms(self._input_format),
                item_id=self._speech_item_id,
            )
        )
        if voice is not None and voice.interrupts_response:
            self._responses.interrupt()

    async def _stopped(self) -> None:
        voice = self._voice
        await self._emit(
            events.event(
                "input_audio_buffer.speech_stopped",
                audio_end_ms=self._buffer.position_ms(self._input_format),
                item_id=self._speech_item_id,
            )
        )
        await self._take_speech(self._speech_item_id)
        if voice is not None and voice.creates_response and not self._is_transcription:
            await self._responses.answer_speech()

    async def _commit(self, _message: Event) -> None:
        duration_ms = milliseconds(len(self._buffer.audio), self._input_format)
        if duration_ms < COMMIT_MS_MIN:
            raise ClientError(
                "input_audio_buffer_commit_empty",
                f"Error committing input audio buffer: buffer too small. Expected at least"
                f" {COMMIT_MS_MIN}ms of audio, but buffer only has {duration_ms}ms of audio.",
            )
        await self._take_speech(self._responses.transcriber.item_id)

    async def _take_speech(self, item_id: str | None) -> None:
        item = spoken_item(self._buffer.take(self._input_format), self._input_format)
        if item_id:
            item.body["id"] = item_id
        await self._emit(
            events.event(
                "input_audio_buffer.committed",
                previous_item_id=self._conversation.last_id,
                item_id=item.id,
            )
        )
        await self._add(item)
        duration_ms = milliseconds(len(item.audio), self._input_format)
        await self._responses.transcriber.transcribe(item, duration_ms, self._wanted)

    async def _clear(self, _message: Event) -> None:
        self._responses.transcriber.drop()
        self._buffer.clear(self._input_format)
        await self._emit(events.event("input_audio_buffer.cleared"))

    # --- responses --------------------------------------------------------------------------------

    async def _create_response(self, message: Event) -> None:
        if self._is_transcription:
            raise ClientError("invalid_value", "A transcription session makes no response.", "type")
        self._responses.create(message.get("response") or {})

    async def _cancel_response(self, _message: Event) -> None:
        self._responses.cancel()


def _merge(into: Any, new: Mapping[str, Any]) -> None:
    """Merge ``new`` into ``into``: nested objects are updated, other values replaced."""
    for name, value in new.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = value
