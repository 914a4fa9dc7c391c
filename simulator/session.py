"""One session of the simulated OpenAI Realtime: client events in, server events out.

Once ``response.created`` was sent, ``response.done`` follows, whatever happens to the reply; only a
client that leaves, and a fault that was asked for, keep it back. What was generated then is noted
as abandoned.
"""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import structlog

from simulator import openai_events as events
from simulator.audio import AudioBuffer, Heard, VoiceSettings, milliseconds
from simulator.client_events import ClientError, check, decode, event_id
from simulator.conversation import Conversation, Item, client_item, spoken_item
from simulator.faults import Faults
from simulator.openai_events import Event, make_id
from simulator.reply import Pace, Reply, Send
from simulator.tokens import transcription_usage

log = structlog.get_logger()

COMMIT_MS_MIN: Final = 100
Sink = Callable[[Event], None]
Handler = Callable[[Event], Awaitable[None]]


class Session:
    """The state of one connection.

    ``send`` writes an event, ``hang_up`` closes the connection with a code. ``log_usage`` notes
    what was sent, ``log_abandoned`` which response was begun and could not be reported.
    """

    def __init__(
        self,
        *,
        model: str,
        pace: Pace,
        faults: Faults,
        send: Send,
        hang_up: Callable[[int], Awaitable[None]],
        log_usage: Sink,
        log_abandoned: Sink,
        on_audio: Callable[[bytes], None],
        session_id: str,
    ) -> None:
        self._send = send
        self._hang_up = hang_up
        self._pace = pace
        self._faults = faults
        self._log_usage = log_usage
        self._log_abandoned = log_abandoned
        self._on_audio = on_audio
        self._session = events.default_session(session_id, model)
        self._conversation = Conversation()
        self._buffer = AudioBuffer()
        self._speech_item_id = ""
        self._reply: Reply | None = None
        self._replying: asyncio.Task[None] | None = None
        self._cached_before = 0
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

    async def open(self) -> None:
        """Greet the client."""
        await self._send(events.event("session.created", session=self._session))

    async def receive(self, text: str | bytes) -> None:
        """Serve one message of the client."""
        name = None
        try:
            message = decode(text)
            name = event_id(message)
            check(message)
            await self._handlers[message["type"]](message)
        except ClientError as exc:
            await self._send(
                events.error(str(exc), code=exc.code, param=exc.param, client_event_id=name)
            )

    async def close(self) -> None:
        """The client is gone: stop generating."""
        if self._replying is not None:
            self._replying.cancel()
            await asyncio.gather(self._replying, return_exceptions=True)

    # --- session and items ------------------------------------------------------------------------

    async def _update(self, message: Event) -> None:
        fixed = {"id", "object", "model", "expires_at"}  # a session's model never changes
        _merge(self._session, {k: v for k, v in message["session"].items() if k not in fixed})
        await self._send(events.event("session.updated", session=self._session))

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
        await self._add(item)

    async def _add(self, item: Item) -> None:
        previous = self._conversation.last_id
        self._conversation.add(item)
        for kind in ("conversation.item.added", "conversation.item.done"):
            await self._send(events.event(kind, previous_item_id=previous, item=item.body))

    async def _delete_item(self, message: Event) -> None:
        item = self._find(message, "item_delete_invalid_item_id")
        del self._conversation.items[item.id]
        await self._send(events.event("conversation.item.deleted", item_id=item.id))

    async def _retrieve_item(self, message: Event) -> None:
        item = self._find(message, "item_retrieve_invalid_item_id")
        await self._send(events.event("conversation.item.retrieved", item=item.body))

    async def _truncate_item(self, message: Event) -> None:
        item = self._find(message, "item_truncate_invalid_item_id")
        truncated = events.event(
            "conversation.item.truncated",
            item_id=item.id,
            content_index=message.get("content_index", 0),
            audio_end_ms=message.get("audio_end_ms", 0),
        )
        await self._send(truncated)

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
    def _voice(self) -> VoiceSettings | None:
        return VoiceSettings.of(self._session["audio"]["input"]["turn_detection"])

    async def _append(self, message: Event) -> None:
        try:
            data = base64.b64decode(message["audio"], validate=True)
        except ValueError as exc:
            raise ClientError("invalid_value", "Expected base64 audio.", "audio") from exc
        voice = self._voice
        while heard := self._buffer.append(data, voice, self._input_format):
            data = b""  # what follows the end of speech is still in the buffer's window
            for notice in heard:
                await (self._started(voice) if notice is Heard.SPEECH_STARTED else self._stopped())

    async def _started(self, voice: VoiceSettings | None) -> None:
        self._speech_item_id = make_id("item")
        await self._send(
            events.event(
                "input_audio_buffer.speech_started",
                audio_start_ms=self._buffer.position_ms(self._input_format),
                item_id=self._speech_item_id,
            )
        )
        if self._reply is not None and voice is not None and voice.interrupts_response:
            self._reply.cancel("turn_detected")

    async def _stopped(self) -> None:
        voice = self._voice
        await self._send(
            events.event(
                "input_audio_buffer.speech_stopped",
                audio_end_ms=self._buffer.position_ms(self._input_format),
                item_id=self._speech_item_id,
            )
        )
        await self._take_speech(self._speech_item_id)
        is_stuck = self._faults.is_done_withheld and self._reply is not None
        if voice is not None and voice.creates_response and not is_stuck:
            await self._finish_reply()
            self._start_reply({})

    async def _commit(self, _message: Event) -> None:
        duration_ms = milliseconds(len(self._buffer.audio), self._input_format)
        if duration_ms < COMMIT_MS_MIN:
            raise ClientError(
                "input_audio_buffer_commit_empty",
                f"Error committing input audio buffer: buffer too small. Expected at least"
                f" {COMMIT_MS_MIN}ms of audio, but buffer only has {duration_ms}ms of audio.",
            )
        await self._take_speech(None)

    async def _take_speech(self, item_id: str | None) -> None:
        item = spoken_item(self._buffer.take(self._input_format), self._input_format)
        if item_id:
            item.body["id"] = item_id
        await self._send(
            events.event(
                "input_audio_buffer.committed",
                previous_item_id=self._conversation.last_id,
                item_id=item.id,
            )
        )
        await self._add(item)
        await self._transcribe(item)

    async def _clear(self, _message: Event) -> None:
        self._buffer.clear(self._input_format)
        await self._send(events.event("input_audio_buffer.cleared"))

    async def _transcribe(self, item: Item) -> None:
        wanted = self._session["audio"]["input"].get("transcription")
        if not isinstance(wanted, dict):
            return
        duration_ms = milliseconds(len(item.audio), self._input_format)
        transcript = f"Speech of {duration_ms} milliseconds."
        place = {"item_id": item.id, "content_index": 0}
        kind = "conversation.item.input_audio_transcription"
        await self._send(events.padded_delta(f"{kind}.delta", transcript, **place))
        counted = transcription_usage(str(wanted.get("model")), duration_ms, transcript)
        completed = events.event(f"{kind}.completed", **place, transcript=transcript, usage=counted)
        await self._send(completed)
        self._log_usage({"kind": "transcription", "response_id": item.id, "usage": counted})

    # --- responses --------------------------------------------------------------------------------

    async def _create_response(self, message: Event) -> None:
        if self._reply is not None:
            raise ClientError(
                "conversation_already_has_active_response",
                f"Conversation already has an active response in progress: {self._reply.id}.",
            )
        self._start_reply(message.get("response") or {})

    async def _cancel_response(self, _message: Event) -> None:
        if self._faults.is_cancel_ignored:
            return
        if self._reply is None:
            raise ClientError(
                "response_cancel_not_active", "Cancellation failed: no active response found."
            )
        self._reply.cancel("client_cancelled")

    def _start_reply(self, wanted: Event) -> None:
        reply = Reply(
            self._session,
            self._conversation,
            wanted=wanted,
            pace=self._pace,
            cached_before=self._cached_before,
            send=self._send,
            on_audio=self._on_audio,
        )
        self._reply = reply
        self._replying = asyncio.get_running_loop().create_task(self._run_reply(reply))

    async def _run_reply(self, reply: Reply) -> None:
        is_reported = False
        try:
            await reply.begin()
            async with asyncio.timeout(self._faults.close_after_s):
                await self._generate(reply)
            # From here on the client may ask for the next response, as with the real provider.
            self._reply, self._cached_before = None, reply.usage["input_tokens"]
            done = reply.done(self._faults.reported(reply.usage))
            await self._send(done)
            is_reported = True
            told = {name: done["response"][name] for name in ("status", "usage")}
            self._log_usage({"kind": "response", "response_id": reply.id, **told})
            await self._send(events.rate_limits())
        except TimeoutError:
            assert self._faults.close_code is not None
            await self._hang_up(self._faults.close_code)
        except ConnectionError:
            pass  # the client is gone; what it did not get is not in the log
        finally:
            if self._reply is reply:
                self._reply = None
            if reply.began_at is not None and not is_reported:
                self._log_abandoned(
                    {"response_id": reply.id, "began_at": reply.began_at, "usage": reply.usage}
                )

    async def _generate(self, reply: Reply) -> None:
        """Everything between response.created and response.done."""
        try:
            await reply.generate()
        except ConnectionError:
            raise
        except Exception:
            log.exception("reply failed")
            reply.fail()
        if self._faults.is_done_withheld:
            await asyncio.Event().wait()  # until the client leaves: close() cancels it

    async def _finish_reply(self) -> None:
        """Wait until a response that was cut has said so."""
        if self._reply is not None and self._replying is not None:
            self._reply.cancel("turn_detected")
            await asyncio.gather(self._replying)


def _merge(into: Any, new: Mapping[str, Any]) -> None:
    """Update nested objects; anything else is replaced."""
    for name, value in new.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = value
