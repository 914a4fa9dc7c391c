"""What a Gemini client's messages become for a provider of the OpenAI family. Pure.

===================  ===========================================================================
message              provider
===================  ===========================================================================
setup                session.update, and the conversation so far
clientContent        response.cancel if one is open; an item per turn, call and answer;
                     response.create if the turn is complete
realtimeInput        audio: input_audio_buffer.append at 24 kHz; text: an item and response.create;
                     video: an item with an image; the activity's begin: response.cancel and
                     input_audio_buffer.clear; its end: commit and response.create; the stream's
                     end: silence, by which the provider itself hears that the user has ended
toolResponse         an item per answer; one response.create when no call is left to answer
contextUpdate        session.update of instructions and tools
===================  ===========================================================================
"""

from collections.abc import Callable, Mapping
from typing import Final

from msgspec import json

from gateway.translate.base import GeminiClient, Translation
from gateway.translate.marks import Mark
from gateway.translate.to_openai import provider_messages
from gateway.translate.to_openai.audio_paths import heard_audio
from gateway.translate.to_openai.client_fields import ClientFaultError, Fields, read
from gateway.translate.to_openai.settings import (
    read_context,
    read_setup,
    silence_ms_of,
    turn_detection_of,
    updated_setup,
    without_handle,
)
from gateway.translate.to_openai.state import State

# Beyond the silence that ends the user's turn: the provider's detection works in steps.
_SILENCE_MORE_MS: Final = 300


class ClientSide:
    """Serves the client's messages."""

    __slots__ = ("_handlers", "_is_history", "_state")

    def __init__(self, state: State) -> None:
        self._state = state
        self._is_history = False
        self._handlers: Mapping[str, Callable[[Fields, Translation], None]] = {
            "setup": self._set_up,
            "clientContent": self._take_content,
            "realtimeInput": self._take_realtime,
            "toolResponse": self._take_answers,
            "contextUpdate": self._update_context,
        }

    def take(self, message: bytes, out: Translation) -> None:
        """Serve one message. Raises ``ClientFaultError``."""
        found = heard_audio(message) if self._state.is_set_up else None
        if found is not None:
            self._hear(*found, where="realtimeInput.audio", out=out)
            return
        kind, body = read(message)
        if kind == "setup" and self._state.is_set_up:
            raise ClientFaultError("setup: it cannot be sent again.")
        if kind != "setup" and not self._state.is_set_up:
            raise ClientFaultError(f"{kind}: setup must be the first message.")
        self._handlers[kind](body, out)
        out.ignored += body.unread()

    # --- another translator -----------------------------------------------------------------------

    def left(self) -> GeminiClient | None:
        """How far the client is, for another that goes on; None where it is not set up."""
        state = self._state
        if not state.setup:
            return None
        return GeminiClient(
            without_handle(state.setup),
            is_accepted=state.is_told,
            is_asked=state.turn.is_due,
            is_history=self._is_history,
            is_active=state.is_active,
            calls=state.calls.known,
        )

    def go_on(self, client: GeminiClient) -> None:
        """Go on where another has left. Raises ``ClientFaultError``."""
        state = self._state
        for call_id, name, waits in client.calls:
            state.calls.add(call_id, name, waits=waits)
        self._read_setup(read(json.encode({"setup": client.setup}))[1])
        self._is_history, state.is_active = client.is_history, client.is_active
        state.is_told, state.is_waiting = client.is_accepted, True
        state.turn.go_on(is_asked=client.is_asked)

    # --- configuration ----------------------------------------------------------------------------

    def _set_up(self, setup: Fields, out: Translation) -> None:
        self._read_setup(setup)
        self._is_history = self._state.settings.begins_with_history
        self._state.configure(out)

    def _read_setup(self, setup: Fields) -> None:
        state = self._state
        session, state.settings = read_setup(setup, state.voices, state.provider)
        state.setup = setup.values
        state.conversation.session = session

    def _update_context(self, update: Fields, out: Translation) -> None:
        context = read_context(update)
        if context:
            self._state.setup = updated_setup(self._state.setup, update)
            self._state.conversation.session.update(context)
            session = {"type": "realtime", **context}
            out.to_provider.append(provider_messages.update(session, provider_messages.CONTEXT_ID))

    # --- what is written --------------------------------------------------------------------------

    def _take_content(self, content: Fields, out: Translation) -> None:
        is_complete = content.flag("turnComplete")
        items = [
            item for turn in content.objects("turns") for item in self._state.writer.turn(turn)
        ]
        if not self._is_history:
            self._state.turn.interrupt(out)
        for item in items:
            self._state.say(item, out)
        if is_complete and self._is_history:
            self._is_history = False
        elif is_complete:
            self._state.turn.ask(out)
            out.marks.append(Mark.STOPPED)

    def _take_answers(self, response: Fields, out: Translation) -> None:
        answers = response.objects("functionResponses")
        if not answers:
            raise ClientFaultError("toolResponse.functionResponses: expected at least one.")
        for item in [self._state.writer.answer(answer) for answer in answers]:
            self._state.say(item, out)
        if not self._state.calls.are_due:
            self._state.turn.ask(out)

    # --- what is spoken ---------------------------------------------------------------------------

    def _take_realtime(self, realtime: Fields, out: Translation) -> None:
        if realtime.has("activityStart"):
            self._begin_activity(out)
        for name in ("mediaChunks", "audio", "video"):
            for blob in realtime.objects(name):
                self._take_blob(blob, out)
        words = realtime.text("text")
        if words:
            self._state.turn.interrupt(out)
            self._state.say(self._state.writer.text(words), out)
            self._state.turn.ask(out)
            out.marks.append(Mark.STOPPED)
        if realtime.flag("audioStreamEnd"):
            self._end_stream(out)
        if realtime.has("activityEnd"):
            self._end_activity(out)

    def _take_blob(self, blob: Fields, out: Translation) -> None:
        mime_type = blob.text("mimeType")
        if mime_type is not None and not mime_type.startswith("audio/"):
            # One image a second would push all words out of the conversation that is kept.
            self._state.say(self._state.writer.image(blob), out, is_kept=False)
            return
        self._hear(mime_type, blob.value("data"), where=blob.path, out=out)

    def _hear(self, mime_type: object, data: object, *, where: str, out: Translation) -> None:
        """Audio; without detection of activities, what is outside of one is not for the model."""
        try:
            audio = self._state.hearing.take(mime_type, data)
        except ValueError as error:
            raise ClientFaultError(f"{where}: {error}") from None
        if self._state.is_active or self._is_automatic:
            self._state.append(audio, out)

    @property
    def _is_automatic(self) -> bool:
        return turn_detection_of(self._state.conversation.session) is not None

    def _begin_activity(self, out: Translation) -> None:
        self._refuse_if_automatic("activityStart")
        if self._state.settings.interrupts:
            self._state.turn.interrupt(out)
        out.to_provider.append(provider_messages.CLEAR)
        self._state.hearing.cleared()
        self._state.is_active = True

    def _end_activity(self, out: Translation) -> None:
        self._refuse_if_automatic("activityEnd")
        hearing = self._state.hearing
        if not self._state.is_active:
            return
        self._state.is_active = False
        self._state.append(hearing.rest(), out)
        if hearing.buffered:
            self._state.append(hearing.silence(hearing.missing_ms()), out)
            out.to_provider.append(provider_messages.COMMIT)
            hearing.cleared()
            self._state.turn.spoke()
        self._state.turn.ask(out, is_aloud=True)
        out.marks.append(Mark.STOPPED)

    def _end_stream(self, out: Translation) -> None:
        """The microphone is off: the provider hears silence, in which what was being said ends."""
        if self._is_automatic:
            hearing = self._state.hearing
            silence_ms = silence_ms_of(self._state.conversation.session) + _SILENCE_MORE_MS
            self._state.append(hearing.rest(), out)
            self._state.append(hearing.silence(silence_ms), out)

    def _refuse_if_automatic(self, name: str) -> None:
        if self._is_automatic:
            raise ClientFaultError(f"realtimeInput.{name}: automatic detection is enabled.")
