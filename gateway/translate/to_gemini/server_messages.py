"""What each message of the provider becomes. Pure.

A message holds at most one of ``serverContent``, ``toolCall`` and so on, and perhaps a usage. Its
content holds several things at once on the newest models; they are taken in the order in which they
belong to a turn. A value of a wrong type counts as absent.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import json

from gateway.translate.audio import PCM_24K, Converter, encode_base64, gemini_format
from gateway.translate.base import call_id_of
from gateway.translate.to_gemini.audio_shapes import Payload, decoded, payload_of
from gateway.translate.to_gemini.calls import Call
from gateway.translate.to_gemini.configuration import is_spoken, is_transcribed
from gateway.translate.to_gemini.reading import Json, object_in, objects_in, text_in
from gateway.translate.to_gemini.response import COMPLETED, Outcome, Response
from gateway.translate.to_gemini.state import State
from gateway.translate.to_gemini.turn import CANCELLED_TURNS, Turn, TurnEvent

# Why a turn ended, beside those that say that the answer was kept back.
_ENDED_WELL: Final = frozenset({"", "TURN_COMPLETE_REASON_UNSPECIFIED", "NEED_MORE_INPUT"})
_MALFORMED: Final = Outcome(
    "failed",
    {
        "type": "failed",
        "error": {
            "type": "server_error",
            "code": "malformed_function_call",
            "message": "The model called a function in a way that cannot be read.",
        },
    },
)
_WITHHELD: Final = Outcome("incomplete", {"type": "incomplete", "reason": "content_filter"})
_BY_REASON: Final[Mapping[str, Outcome]] = {
    **dict.fromkeys(_ENDED_WELL, COMPLETED),
    "MALFORMED_FUNCTION_CALL": _MALFORMED,
}
# What of a content has no counterpart, and is no news.
_SILENT: Final = frozenset(
    {
        "modelTurn", "inputTranscription", "outputTranscription", "interrupted", "turnComplete",
        "generationComplete", "turnCompleteReason", "interimInputTranscription", "waitingForInput",
        "interactionStatus",
    }
)  # fmt: skip
# A usage that comes behind the end of its turn comes within moments. Audio flows all the time: of
# 20 ms in a message it is waited for as long as 0.16 s.
_USAGE_DUE_APPENDS: Final = 8

Handler = Callable[[State, Json], None]


def handle(state: State, message: Json) -> None:
    """Translate one message of a provider that has accepted the setup."""
    usage = message.get("usageMetadata")
    if isinstance(usage, dict):
        _take_usage(state, usage)
    elif state.is_usage_due:  # it came with none of the messages that could bring it
        state.finish_response(None)
    for name, value in message.items():
        if name == "usageMetadata":
            continue
        handler = _HANDLERS.get(name)
        if handler is None or not isinstance(value, dict):
            state.out.ignored.append(name[:64])
        else:
            handler(state, value)


def handle_beside(state: State, message: Json) -> None:
    """A message of a connection that has not accepted the setup, or is about to be replaced: it is
    too early, or too late, for all but a handle.
    """
    for name, value in message.items():
        if name == "sessionResumptionUpdate" and isinstance(value, dict):
            _keep_handle(state, value)
        else:
            state.out.ignored.append(name[:64])


def _take_usage(state: State, usage: Json) -> None:
    """The usage of the turn: of the one that ended without, or of the one that is about to end."""
    if state.is_usage_due:
        state.finish_response(usage)
    else:
        state.usage = usage


# --- the model's turn -----------------------------------------------------------------------------


def _content(state: State, content: Json) -> None:
    state.out.ignored += [f"serverContent.{name[:64]}" for name in content if name not in _SILENT]
    if content.get("interrupted") is True:
        _interrupt(state)
    heard = object_in(content, "inputTranscription")
    if text := text_in(heard, "text"):
        _hear(state, text)
    if heard.get("finished") is True:
        state.speech.finished()
    if spoken := text_in(object_in(content, "outputTranscription"), "text"):
        _transcribe(state, spoken)
    for part in objects_in(object_in(content, "modelTurn"), "parts"):
        _say(state, part)
    if content.get("generationComplete") is True:
        _generated(state)
    if content.get("turnComplete") is True:
        _end_turn(state, text_in(content, "turnCompleteReason"))
        state.is_part_due = content.get("interactionStatus") == "IN_PROGRESS"


def _hear(state: State, text: str) -> None:
    """The transcript of what the user says."""
    if not is_transcribed(state.session):
        return
    speech = state.speech
    if not state.is_detected and not speech.is_answered:
        speech.kept(text)
        return
    speech.transcribed(text, is_late=state.is_interruptible or state.response is None)


def _said(state: State, *, is_transcript: bool = False) -> Response | None:
    """The response that what the model says belongs to; None where it is not wanted any more.

    A turn that nobody asked for begins one: the provider found that the user's speech had ended.
    """
    if is_transcript and state.turn in (Turn.INTERRUPTED, Turn.OVER):
        return None  # the transcript of what was interrupted comes late
    state.move_turn(TurnEvent.SAID)
    if state.turn is not Turn.SPEAKING:
        return None
    response = state.response
    if response is not None and response.outcome is not None:  # its end was never sent
        state.finish_response(state.take_usage())
        response = state.response
    if response is not None and response.is_begun:
        return response
    return _begin(state, response)


def _begin(state: State, response: Response | None) -> Response:
    """The model's first word: what the user said before it is an item now."""
    speech = state.speech
    is_continued = state.is_answer_due or state.is_part_due or speech.is_due
    is_spoken_turn = response is None and not is_continued
    if state.is_detected and (speech.is_heard or (is_spoken_turn and speech.has_audio)):
        speech.stopped()
        speech.commit(is_transcribed=is_transcribed(state.session))
    speech.answered()
    state.pending.answered()
    if response is None:
        response = state.create_response(None)
    response.is_begun = True
    return response


def _transcribe(state: State, text: str) -> None:
    response = state.response
    is_of_it = state.turn in (Turn.SPEAKING, Turn.INTERRUPTED) or state.following is not None
    if response is not None and is_of_it and response.late_transcript(text):
        return
    if (response := _said(state, is_transcript=True)) is not None:
        response.transcribe(text)


def _say(state: State, part: Json) -> None:
    """A part of what the model says; its thoughts are nobody's business."""
    if part.get("thought") is True:
        return
    if text := text_in(part, "text"):
        if (response := _said(state)) is not None:
            response.write(text)
    elif blob := object_in(part, "inlineData"):
        _speak(state, blob)
    else:
        state.out.ignored += [f"serverContent.modelTurn.{name[:64]}" for name in part]


def _speak(state: State, blob: Json) -> None:
    payload = _at_24k(blob)
    if payload is None:
        state.out.ignored.append("serverContent.modelTurn.inlineData")
    elif payload.size:
        if state.turn is Turn.SPEAKING and state.is_generated:  # its end was never sent
            state.finish_response(state.take_usage(), COMPLETED, is_turn_over=False)
        if (response := _said(state)) is not None:
            response.speak(payload)


def _at_24k(blob: Json) -> Payload | None:
    """The audio in ``inlineData``, at the rate at which Gemini always speaks. Another one that it
    names is converted piece by piece. None for what is no audio.
    """
    data = text_in(blob, "data")
    payload = payload_of(data.encode()) if data.isascii() else None
    try:
        found = gemini_format(blob.get("mimeType"))
    except ValueError:
        return None
    if payload is None or found == PCM_24K:
        return payload
    converter = Converter(found, PCM_24K)
    pcm = converter.feed(decoded(payload)) + converter.flush()
    return payload_of(encode_base64(pcm).encode())


def _generated(state: State) -> None:
    """``generationComplete``: what is said is complete; words of it may still come, though, and of
    a client that wants nothing else they are all.
    """
    if state.response is not None and state.turn is Turn.SPEAKING and is_spoken(state.session):
        state.response.close_message()


def _interrupt(state: State) -> None:
    """``interrupted``: by the user's speech, or by what the client sent to cancel. An answer that
    was generated before that is complete: Gemini waits with its end as long as it may be played.
    """
    was, response = state.turn, state.response
    state.move_turn(TurnEvent.CUT)
    if was in CANCELLED_TURNS:
        return
    if state.is_detected:
        state.speech.started()
    if response is not None:
        is_complete = response.is_generated
        response.end(COMPLETED if is_complete else Outcome.cancelled("turn_detected"))


def _end_turn(state: State, reason: str) -> None:
    """``turnComplete``: the response is done, once its usage is there."""
    was, response = state.turn, state.response
    state.move_turn(TurnEvent.ENDED)
    if state.following is not None:  # the end of the answer before
        state.finish_response(state.take_usage())
        return
    if was is Turn.SPEAKING and response is None:
        state.calls.turn_ended()
    if response is None or (was in CANCELLED_TURNS and not response.is_cancelled):
        state.take_usage()
        if response is None:
            state.turn_answered()
        return
    response.end(_BY_REASON.get(reason, _WITHHELD))
    state.turn_answered()
    if state.usage is None:
        state.usage_due_appends = _USAGE_DUE_APPENDS
    else:
        state.finish_response(state.take_usage())


# --- the other messages ---------------------------------------------------------------------------


def _call_functions(state: State, tool_call: Json) -> None:
    """``toolCall``: its response is complete, and Gemini's usage of it comes with the answer."""
    calls = [call for call in objects_in(tool_call, "functionCalls") if text_in(call, "name")]
    if not calls or (response := _said(state)) is None:
        return
    response.close_message()
    for found in calls:
        given, arguments = text_in(found, "id"), json.encode(object_in(found, "args")).decode()
        call_id = call_id_of(given) if given else state.ids.make("call")
        call = Call(call_id, text_in(found, "name"), arguments, name_there=given)
        state.calls.made(call)
        response.call(call)
    state.finish_response(None, COMPLETED, is_turn_over=False)


def _cancel_calls(state: State, cancellation: Json) -> None:
    ids = cancellation.get("ids")
    names = [x for x in ids if isinstance(x, str)] if isinstance(ids, list) else []
    if state.calls.cancelled(names):
        state.out.ignored.append("conversation.item.create.item")
        # The user went on speaking; the answer to that is on its way.
        state.is_answer_due = state.response is None
    state.tell_awaited_outputs()


def _go_away(state: State, _message: Json) -> None:
    state.renew()


def _keep_handle(state: State, update: Json) -> None:
    handle = text_in(update, "newHandle")
    if update.get("resumable") is True and handle:
        state.keep_handle(handle)


def _notice_voice(state: State, activity: Json) -> None:
    """``voiceActivity``: what the provider found out about the user's speech."""
    if not state.is_detected:
        return
    kind, at_ms = activity.get("voiceActivityType"), _milliseconds(text_in(activity, "audioOffset"))
    if kind == "ACTIVITY_START":
        state.speech.started(at_ms)
    elif kind == "ACTIVITY_END":
        state.speech.stopped(at_ms)


def _notice_signal(state: State, signal: Json) -> None:
    kinds = {"VAD_SIGNAL_TYPE_SOS": "ACTIVITY_START", "VAD_SIGNAL_TYPE_EOS": "ACTIVITY_END"}
    kind: Any = signal.get("vadSignalType")
    _notice_voice(state, {"voiceActivityType": kinds.get(kind) if isinstance(kind, str) else None})


def _milliseconds(duration: str) -> int | None:
    """A duration of protobuf's JSON, e.g. ``1.5s``; None where it is none."""
    try:
        seconds = float(duration.removesuffix("s"))
    except ValueError:
        return None
    return int(seconds * 1000) if 0 <= seconds < 1e9 else None


def _nothing(_state: State, _message: Json) -> None:
    """A setup that was accepted before."""


_HANDLERS: Final[Mapping[str, Handler]] = {
    "serverContent": _content,
    "toolCall": _call_functions,
    "toolCallCancellation": _cancel_calls,
    "goAway": _go_away,
    "sessionResumptionUpdate": _keep_handle,
    "voiceActivity": _notice_voice,
    "voiceActivityDetectionSignal": _notice_signal,
    "setupComplete": _nothing,
}
