"""What each event of the client does. Pure.

An event is checked before anything of it is applied; ``RefusedError`` leaves everything as it was.
"""

from collections.abc import Callable, Mapping
from typing import Final

from gateway.translate.to_gemini import client_audio, client_items, configuration
from gateway.translate.to_gemini.answers import INTERRUPTION
from gateway.translate.to_gemini.link import Link
from gateway.translate.to_gemini.reading import Json, required_object
from gateway.translate.to_gemini.refusals import RefusedError, invalid, unsupported
from gateway.translate.to_gemini.response import Outcome
from gateway.translate.to_gemini.response_params import instructions_in
from gateway.translate.to_gemini.session_fields import Reading
from gateway.translate.to_gemini.setup import context_update, has_unknown_voice
from gateway.translate.to_gemini.state import State
from gateway.translate.to_gemini.turn import TurnEvent

Handler = Callable[[State, Json], None]


def needs_provider(event: Json) -> bool:
    """Whether the event cannot be applied before a provider has accepted the setup."""
    return event.get("type") in ("input_audio_buffer.append", "response.create")


def handle(state: State, event: Json) -> None:
    """Apply one event; raises ``RefusedError``."""
    kind = event.get("type")
    handler = _HANDLERS.get(kind) if isinstance(kind, str) else None
    if handler is None:
        raise invalid("type", "the type of a client's event of the Realtime API")
    handler(state, event)


# --- the session ----------------------------------------------------------------------------------


def _update_session(state: State, event: Json) -> None:
    """``session.update``: into the setup, by ``contextUpdate``, or by another connection."""
    has_spoken = state.has_spoken or (state.response is not None and state.response.has_spoken)
    reading = Reading(state.model, has_spoken)
    session = configuration.updated(state.session, required_object(event, "session"), reading)
    before = state.setup
    state.set_session(session)
    state.out.ignored += reading.ignored
    if has_unknown_voice(session, state.voices):
        state.out.ignored.append("session.audio.output.voice")
    if state.link is not Link.READY:
        state.updates_due += 1
        return
    if before != state.setup or state.updates_due:
        _reconfigure(state, before)
    else:
        tell_session(state)


def _reconfigure(state: State, before: Json) -> None:
    update = None if state.updates_due else context_update(before, state.setup)
    if update is not None:
        state.send(update)
        tell_session(state)
        return
    state.updates_due += 1
    state.renew()


def tell_session(state: State) -> None:
    """The configuration is in effect."""
    state.events.add("session.updated", session=state.session)


# --- responses ------------------------------------------------------------------------------------


def _create_response(state: State, event: Json) -> None:
    """``response.create``: ask the model, unless it was asked already by other means."""
    given = {} if event.get("response") is None else required_object(event, "response")
    reading = Reading(state.model, has_spoken=False)
    instructions = instructions_in(given, state.session, reading)
    response = state.response
    is_open = response is not None and response.outcome is None
    is_news = bool(state.pending or state.speech.is_due or state.calls.item_ids())
    is_answered = state.is_create_due and (is_open or not is_news)
    state.is_create_due = False
    if is_answered:  # the answer to the functions' outputs has begun, perhaps ended, before this
        return
    if (is_open and not state.is_generated) or state.following is not None:
        message = "Conversation already has an active response in progress."
        raise RefusedError("conversation_already_has_active_response", message)
    state.out.ignored += reading.ignored
    if response is not None and not is_open:
        state.finish_response(None)
    is_anew = _ask(state, instructions)
    state.move_turn(TurnEvent.ASKED_ANEW if is_anew else TurnEvent.ASKED)
    if is_open:
        state.follow(given)
    else:
        state.create_response(given)


def _ask(state: State, instructions: str) -> bool:
    """Ask the model; whether a turn of its that has not ended ends before it answers."""
    speech = state.speech
    outputs = state.calls.take()
    if outputs is not None:  # before any content, which has the model give up its calls
        state.send(outputs)
    is_due, speech.is_due = speech.is_due, False
    if is_due and speech.is_held:
        client_audio.begin_activity(state)
    ends_activity = not state.is_detected and speech.is_active and is_due
    is_asked = state.is_answer_due or outputs is not None or (is_due and not ends_activity)
    if is_asked and not (state.pending or ends_activity):
        if instructions:
            state.out.ignored.append("response.create.response.instructions")
        state.pending.beside = []
        return outputs is not None and state.calls.end_turns
    content = state.pending.ask(instructions, is_asked_otherwise=ends_activity)
    if content is not None:
        state.send(content)
    if ends_activity:
        speech.is_active = False
        state.send({"realtimeInput": {"activityEnd": {}}})
    return True


def _cancel_response(state: State, _event: Json) -> None:
    """``response.cancel``: Gemini is interrupted by content, and the rest of its turn dropped."""
    state.begin_following()
    response = state.response
    if response is None or response.outcome is not None:
        message = "Cancellation failed: no active response found."
        raise RefusedError("response_cancel_not_active", message)
    state.send(INTERRUPTION)
    state.is_create_due = False
    state.move_turn(TurnEvent.CANCELLED)
    response.end(Outcome.cancelled("client_cancelled"))


def _not_possible(_state: State, event: Json) -> None:
    raise unsupported("type", f"The provider has no counterpart for '{event['type']}'.")


_HANDLERS: Final[Mapping[str, Handler]] = {
    "session.update": _update_session,
    "input_audio_buffer.append": client_audio.append,
    "input_audio_buffer.commit": client_audio.commit,
    "input_audio_buffer.clear": client_audio.clear,
    "conversation.item.create": client_items.create,
    "conversation.item.delete": client_items.delete,
    "conversation.item.retrieve": client_items.retrieve,
    "conversation.item.truncate": client_items.truncate,
    "response.create": _create_response,
    "response.cancel": _cancel_response,
    "output_audio_buffer.clear": _not_possible,
}
