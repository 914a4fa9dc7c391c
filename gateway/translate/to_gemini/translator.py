"""The translator for a client of OpenAI's and a provider that is Gemini Live. Pure.

It decides when a message is read at all: before the provider has accepted the setup, what needs the
provider is kept. What a message does is in ``client_events`` and ``server_messages``.
"""

from typing import Final

from msgspec import json

from gateway.translate.base import Rest, Translation
from gateway.translate.conversation import Conversation
from gateway.translate.marks import of_gemini
from gateway.translate.to_gemini import client_audio, client_events, server_messages
from gateway.translate.to_gemini.answers import content_message
from gateway.translate.to_gemini.audio_shapes import appended, spoken
from gateway.translate.to_gemini.link import WAITS, Link, Step
from gateway.translate.to_gemini.reading import Json, not_json, parsed, text_in
from gateway.translate.to_gemini.refusals import RefusedError, error_details
from gateway.translate.to_gemini.response import Outcome
from gateway.translate.to_gemini.setup import with_handle
from gateway.translate.to_gemini.state import State
from gateway.translate.to_gemini.turn import Turn
from gateway.translate.voices import VoiceTable


class GeminiTranslator:
    """See ``Translator``. ``model`` is Gemini's name, without ``models/``; ``seed`` is text of at
    most 12 characters that no other session has. With a ``conversation`` another provider was
    talked to before: by the same client, which has heard ``session.created``, or by one that was
    there before, where ``opened`` is called.
    """

    resumption: Final = None  # Gemini's handles are told in its setup

    def __init__(
        self,
        *,
        model: str,
        seed: str,
        voices: VoiceTable,
        conversation: Conversation | None = None,
    ) -> None:
        self._state = State(model=model, seed=seed, voices=voices, conversation=conversation)
        self._held: list[bytes] = []
        self._appended = appended()
        self._spoken = spoken()

    @property
    def conversation(self) -> Conversation:
        """See ``Translator``."""
        return self._state.conversation

    @property
    def is_waiting(self) -> bool:
        """See ``Translator``."""
        return self._state.link in WAITS

    @property
    def is_answering(self) -> bool:
        """See ``Translator``."""
        return self._state.response is not None or self._state.speech.is_open

    # --- the connections --------------------------------------------------------------------------

    def opened(self) -> Translation:
        """See ``Translator``."""
        out = self._state.begin()
        self._move_link(Step.GREETED)
        self._state.events.add("session.created", session=self._state.session)
        return out

    def provider_opened(self) -> Translation:
        """See ``Translator``."""
        out = self._state.begin()
        out.ignored, self._state.unadopted = self._state.unadopted, []
        self._move_link(Step.OPENED)
        return out

    def provider_closed(self) -> Translation:
        """See ``Translator``."""
        state = self._state
        out = state.begin()
        state.disconnected(was_refused=state.link is Link.WAITING)
        self._move_link(Step.CLOSED)
        return out

    def moved_to(self, provider: str) -> None:
        """See ``Translator``: only Gemini speaks this."""

    def leave(self) -> Rest:
        """See ``Translator``."""
        state = self._state
        names = {name: state.session[name] for name in ("id", "model")}
        out, again = state.begin(), []
        state.begin_following()
        if state.response is not None:
            again = [json.encode({"type": "response.create", "response": state.response.request})]
            state.finish_response(None, Outcome.cancelled(None))
        state.give_back_session()
        return Rest(names, [*again, *self._held], out.to_client)

    def take_over(self, rest: Rest) -> Translation:
        """See ``Translator``."""
        out = self._state.begin()
        self._state.set_session({**self._state.session, **rest.announced})
        for message in rest.unanswered:
            self._read(message)
        return out

    # --- messages ---------------------------------------------------------------------------------

    def from_client(self, message: bytes) -> Translation:
        """See ``Translator``."""
        state = self._state
        out = state.begin()
        if state.link in WAITS:
            self._held.append(message)
            return out
        if state.is_usage_due:
            self._miss_usage(message)
        if state.link is Link.READY and (payload := self._appended.find(message)) is not None:
            client_audio.send_audio(state, payload)
            return out
        self._read(message)
        return out

    def from_provider(self, message: bytes) -> Translation:
        """See ``Translator``."""
        state = self._state
        out = state.begin()
        response = state.response
        if response is not None and response.is_speaking and state.turn is Turn.SPEAKING:
            payload = self._spoken.find(message)
            if payload is not None and payload.size:
                out.to_client.append(response.delta(payload))
                return out
        found = parsed(message)
        if found is None:
            out.ignored.append("message")
        elif state.link is Link.READY:
            out.marks.append(of_gemini(found))
            server_messages.handle(state, found)
        elif "setupComplete" in found and self._move_link(Step.ACCEPTED):
            self._accepted()
        else:
            server_messages.handle_beside(state, found)
        return out

    # --- helpers ----------------------------------------------------------------------------------

    def _read(self, message: bytes) -> None:
        state = self._state
        event = parsed(message)
        if event is None:
            self._refuse(not_json(), {})
            return
        if state.link is not Link.READY and client_events.needs_provider(event):
            self._held.append(message)
            self._move_link(Step.NEEDED)
            return
        try:
            client_events.handle(state, event)
        except RefusedError as refusal:
            self._refuse(refusal, event)
        if state.updates_due:
            self._move_link(Step.NEEDED)

    def _refuse(self, refusal: RefusedError, event: Json) -> None:
        details = error_details(refusal, text_in(event, "event_id") or None)
        self._state.events.add("error", error=details)

    def _move_link(self, step: Step) -> bool:
        """Whether the link is another one by this; a provider that waits is told the setup."""
        state = self._state
        if not state.move_link(step):
            return False
        if state.link is Link.WAITING:
            setup = with_handle(state.setup, state.handle)
            state.out.to_provider.append(json.encode({"setup": setup}))
        return True

    def _accepted(self) -> None:
        """The setup was accepted: what was said before is told, and what was held is read."""
        state = self._state
        turns, is_asked = state.unknown_turns(), state.is_asked_again
        state.is_asked_again = False
        if is_asked:
            turns += state.pending.beside
        if turns or is_asked:
            state.send(content_message(turns, is_complete=is_asked))
            state.out.marks.clear()  # told again, it takes longer
        due, state.updates_due = state.updates_due, 0
        for _ in range(due):
            client_events.tell_session(state)
        held, self._held = self._held, []
        for number, message in enumerate(held):
            if state.link is not Link.READY:  # one of them takes another connection
                self._held = held[number:]
                break
            self._read(message)

    def _miss_usage(self, message: bytes) -> None:
        """The usage of a turn that has ended comes within moments, or not at all. It is waited for
        until the client says something that is no audio; audio flows all the time.
        """
        state = self._state
        state.usage_due_appends -= 1
        if not state.is_usage_due or self._appended.find(message) is None:
            state.finish_response(None)
