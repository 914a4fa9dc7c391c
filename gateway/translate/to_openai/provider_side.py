"""What the events of a provider of the OpenAI family become for a Gemini client. Pure.

What only says how a response is put together (``response.output_item.added``, ``….done``) has no
counterpart and is not told. An error, or an event that nobody knows, is named and not told either:
Gemini has no message for it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import MsgspecError, json

from gateway.metering.account_errors import NEUTRAL_MESSAGE, mask_account_error
from gateway.translate.base import Close, Translation
from gateway.translate.marks import of_openai
from gateway.translate.to_openai import client_messages, provider_messages
from gateway.translate.to_openai.audio_paths import spoken_audio
from gateway.translate.to_openai.client_fields import INVALID, NAME_CHARS_MAX, short
from gateway.translate.to_openai.settings import has_transcripts, turn_detection_of
from gateway.translate.to_openai.state import State
from shared.provider_kinds import kind_of

Event = Mapping[str, Any]

_INTERNAL: Final = 1011
_TRANSCRIPTION: Final = "conversation.item.input_audio_transcription"
# What is heard before the session is accepted; no Gemini client may get anything before that.
_EARLY: Final = frozenset(
    {"session.updated", "error", "conversation.created", "conversation.item.added"}
)
# Events that say nothing to a Gemini client, and are expected.
_SILENT: Final = frozenset(
    {
        "session.created", "ping", "rate_limits.updated",
        "conversation.item.done", "conversation.item.created", "conversation.item.deleted",
        "input_audio_buffer.speech_stopped", "input_audio_buffer.cleared",
        "input_audio_buffer.timeout_triggered", f"{_TRANSCRIPTION}.segment",
        "response.content_part.added", "response.content_part.done",
        "response.output_audio.done", "response.output_audio_transcript.done",
        "response.output_text.done",
        "response.function_call_arguments.delta", "response.function_call_arguments.done",
    }
)  # fmt: skip


class ProviderSide:
    """Serves the provider's events."""

    __slots__ = ("_handlers", "_state")

    def __init__(self, state: State) -> None:
        self._state = state
        self._handlers: Mapping[str, Callable[[Event, Translation], None]] = {
            "session.updated": self._accepted,
            "conversation.created": self._begun,
            "conversation.item.added": self._added,
            "error": self._failed,
            "input_audio_buffer.speech_started": self._speech_started,
            "input_audio_buffer.committed": self._committed,
            f"{_TRANSCRIPTION}.delta": self._heard_more,
            f"{_TRANSCRIPTION}.updated": self._heard_so_far,
            f"{_TRANSCRIPTION}.completed": self._heard_all,
            f"{_TRANSCRIPTION}.failed": self._not_transcribed,
            "response.created": self._created,
            "response.output_item.added": self._item_added,
            "response.output_item.done": self._item_done,
            "response.output_audio.delta": self._spoke,
            "response.output_audio_transcript.delta": self._transcribed,
            "response.output_text.delta": self._wrote,
            "response.done": self._done,
        }

    def take(self, message: bytes, out: Translation) -> None:
        """Serve one event."""
        audio = spoken_audio(message)  # no response is open before the session is accepted
        if audio is not None:
            self._speak(audio, out)
            return
        try:
            event = json.decode(message)
        except (MsgspecError, ValueError, RecursionError):
            event = None
        kind = event.get("type") if isinstance(event, dict) else None
        if not isinstance(kind, str):
            out.ignored.append("message without a type")
            return
        out.marks.append(of_openai(event))
        handler = self._handlers.get(kind)
        if handler is not None and (self._state.is_told or kind in _EARLY):
            handler(event, out)
        elif handler is None and kind not in _SILENT:
            out.ignored.append(f"event {kind[:NAME_CHARS_MAX]}")

    # --- the session ------------------------------------------------------------------------------

    def _accepted(self, _event: Event, out: Translation) -> None:
        if not self._state.is_waiting or not self._state.is_connected:
            return
        self._state.accepted(out)
        if not self._state.is_told:
            self._state.is_told = True
            out.to_client.append(client_messages.SETUP_COMPLETE)

    def _begun(self, event: Event, _out: Translation) -> None:
        self._state.resumption.begun(event.get("conversation"))

    def _added(self, event: Event, _out: Translation) -> None:
        item = dict(_object(event, "item"))
        if self._state.resumption.is_waiting and (item_id := _text(item, "id")):
            self._state.was_replayed(item_id, item)

    def _failed(self, event: Event, out: Translation) -> None:
        error = _object(event, "error")
        code = error.get("code") or error.get("type")
        out.ignored.append(f"error {str(code)[:NAME_CHARS_MAX]}")
        answered = error.get("event_id")
        if not answered and kind_of(self._state.provider) == "xai":
            answered = ""  # it does not say what its errors answer
        if not self._state.is_waiting:
            self._state.turn.failed(answered, code, out)
        elif answered in (provider_messages.SETUP_ID, ""):
            is_ours = mask_account_error(event) is not None
            if self._state.resumption.is_waiting and not (answered or is_ours):
                # It took this configuration before, so the session need not end for that.
                if self._state.resumption.has_begun:
                    self._accepted(event, out)
                return
            out.close = (
                Close(_INTERNAL, NEUTRAL_MESSAGE)
                if is_ours
                else Close(INVALID, short(str(error.get("message") or code)))
            )

    # --- the user ---------------------------------------------------------------------------------

    def _speech_started(self, event: Event, out: Translation) -> None:
        state = self._state
        state.turn.is_awaited = True
        item_id = _text(event, "item_id")
        if item_id and has_transcripts(state.conversation.session):
            state.record.expect(item_id, "user")
        if not state.settings.interrupts or not state.is_told:
            return
        if state.turn.response is not None:
            state.turn.interrupted(out)
        elif state.hearing.is_playing:
            # Its turn is complete already: that one is not played to its end ends no other one.
            out.to_client.append(client_messages.INTERRUPTED)
        state.hearing.stop_playing()

    def _committed(self, event: Event, _out: Translation) -> None:
        """What was spoken is an item now. Without detection the client has committed it."""
        state, item_id = self._state, _text(event, "item_id")
        if item_id and has_transcripts(state.conversation.session):
            state.record.expect(item_id, "user")
            state.turn.recognized()
        elif turn_detection_of(state.conversation.session) is not None:
            state.turn.spoke()

    def _heard_more(self, event: Event, out: Translation) -> None:
        item_id, words = _text(event, "item_id"), _text(event, "delta")
        self._state.record.said(item_id, words)
        self._tell_heard(self._state.words.more(item_id, words), out)

    def _heard_so_far(self, event: Event, out: Translation) -> None:
        item_id, words = _text(event, "item_id"), _text(event, "transcript")
        self._tell_heard(self._state.words.all(item_id, words, corrects=True), out)

    def _heard_all(self, event: Event, out: Translation) -> None:
        """All words of an item. xAI calls some of them complete that are not (``status``)."""
        item_id, words = _text(event, "item_id"), _text(event, "transcript")
        corrects = kind_of(self._state.provider) == "xai"
        self._tell_heard(self._state.words.all(item_id, words, corrects=corrects), out)
        if not words:
            self._not_recognized(item_id)
        self._state.record.transcribed(item_id, words)
        if not corrects and not self._state.turn.is_busy:
            self._state.record.settle()

    def _not_transcribed(self, event: Event, out: Translation) -> None:
        self._not_recognized(_text(event, "item_id"))
        self._state.record.drop(_text(event, "item_id"))
        out.ignored.append("input transcription failed")

    def _not_recognized(self, item_id: str) -> None:
        if self._state.record.is_unheard(item_id):
            self._state.turn.not_recognized()

    def _tell_heard(self, words: str, out: Translation) -> None:
        if words and self._state.is_told and has_transcripts(self._state.conversation.session):
            out.to_client.append(client_messages.input_transcription(words))

    # --- the model --------------------------------------------------------------------------------

    def _created(self, event: Event, _out: Translation) -> None:
        self._state.turn.created(_text(_object(event, "response"), "id"))

    def _item_added(self, event: Event, _out: Translation) -> None:
        item_id = _text(_object(event, "item"), "id")
        if item_id and self._state.turn.response is not None:
            self._state.record.expect(item_id, "assistant")

    def _item_done(self, event: Event, _out: Translation) -> None:
        if self._state.turn.response is not None:
            self._state.turn.response.items.append(dict(_object(event, "item")))

    def _spoke(self, event: Event, out: Translation) -> None:
        self._speak(_text(event, "delta").encode(), out)

    def _speak(self, base64: bytes, out: Translation) -> None:
        if base64 and self._state.turn.is_telling:
            self._tell(client_messages.audio(base64), out)
            self._state.hearing.spoke(len(base64))

    def _transcribed(self, event: Event, out: Translation) -> None:
        words = _text(event, "delta")
        self._state.record.said(_text(event, "item_id"), words)
        is_wanted = self._state.settings.tells_speech and self._state.turn.is_telling
        if words and is_wanted:
            self._tell(client_messages.output_transcription(words), out)

    def _wrote(self, event: Event, out: Translation) -> None:
        words = _text(event, "delta")
        self._state.record.said(_text(event, "item_id"), words)
        if words and self._state.turn.is_telling:
            self._tell(client_messages.text(words), out)

    def _tell(self, message: bytes, out: Translation) -> None:
        out.to_client.append(message)
        self._state.turn.told()

    def _done(self, event: Event, out: Translation) -> None:
        error = _object(_object(_object(event, "response"), "status_details"), "error")
        if error:
            code = error.get("code") or error.get("type")
            out.ignored.append(f"response failed {str(code)[:NAME_CHARS_MAX]}")
        self._state.record.answered(self._state.turn.done(event, out))


def _text(event: Event, name: str) -> str:
    value = event.get(name)
    return value if isinstance(value, str) else ""


def _object(event: Event, name: str) -> Event:
    value = event.get(name)
    return value if isinstance(value, dict) else {}
