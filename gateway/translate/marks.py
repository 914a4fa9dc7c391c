"""What a message says of how long the user waits for an answer. Pure.

============  ==============================================  ====================================
mark          OpenAI's protocol                               Gemini's
============  ==============================================  ====================================
STOPPED       ``speech_stopped``                              ``activityEnd``, content that asks, a
                                                              text; ``voiceActivity``: its end
TRANSCRIBED   none                                            ``inputTranscription``
BEGUN         ``response.content_part.added``, which comes    ``modelTurn`` with audio or text
              just before the first audio
ENDED         ``response.done``                               ``turnComplete``, ``interrupted``
FAILED        ``response.done`` that failed by no fault of    none: Gemini closes
              the client; an ``error`` of the server's
FORGOTTEN     ``speech_started``; ``response.create``: a      content that does not ask; an
              client that asks itself may take its time       activity's begin; functions
============  ==============================================  ====================================

Of speech that is detected Gemini says neither when it ends nor, before the answer, that it was
heard, but in a transcript, which comes a little later, or in a ``voiceActivity``, both where they
were asked for. Called by translators, and by ``relay.kept_splice``.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any, Final


class Mark(Enum):
    """See the table; ``relay.answer_wait`` says what follows from each."""

    STOPPED = auto()  # the user has said all, and waits
    TRANSCRIBED = auto()  # the user has said something, and perhaps all
    BEGUN = auto()  # the answer is heard
    ENDED = auto()  # it is over
    FAILED = auto()  # it is over, as the provider could not make it
    FORGOTTEN = auto()  # nobody waits for an answer of the model


_OPENAI: Final[Mapping[str, Mark]] = {
    "input_audio_buffer.speech_started": Mark.FORGOTTEN,
    "input_audio_buffer.speech_stopped": Mark.STOPPED,
    "response.create": Mark.FORGOTTEN,
    "response.content_part.added": Mark.BEGUN,
}
# OpenAI's types of errors: whose fault it is.
_SERVERS: Final = "server_error"
_CLIENTS: Final = "invalid_request_error"
_VOICE: Final[Mapping[str, Mark]] = {
    "ACTIVITY_START": Mark.FORGOTTEN,
    "VAD_SIGNAL_TYPE_SOS": Mark.FORGOTTEN,
    "ACTIVITY_END": Mark.STOPPED,
    "VAD_SIGNAL_TYPE_EOS": Mark.STOPPED,
}


def of_openai(event: Mapping[str, Any]) -> Mark | None:
    """That of an event of either side, whose type is a text."""
    kind = event["type"]
    if kind == "response.done":
        return Mark.FAILED if _has_failed(event.get("response")) else Mark.ENDED
    if kind == "error":
        return Mark.FAILED if _type_of(event.get("error")) == _SERVERS else None
    return _OPENAI.get(kind)


def _has_failed(response: object) -> bool:
    if not isinstance(response, dict) or response.get("status") != "failed":
        return False
    details = response.get("status_details")
    return _type_of(details.get("error") if isinstance(details, dict) else None) != _CLIENTS


def _type_of(error: object) -> object:
    return error.get("type") if isinstance(error, dict) else None


def of_gemini(message: Mapping[str, Any]) -> Mark | None:
    """That of a message of either side."""
    content = message.get("serverContent")
    if isinstance(content, dict):
        return _of_content(content)
    if "toolCall" in message:
        return Mark.FORGOTTEN
    voice = message.get("voiceActivity") or message.get("voiceActivityDetectionSignal")
    if isinstance(voice, dict):
        found = voice.get("voiceActivityType") or voice.get("vadSignalType")
        return _VOICE.get(found) if isinstance(found, str) else None
    return _of_client(message)


def _of_content(content: Mapping[str, Any]) -> Mark | None:
    """One that says several things says the end last."""
    if content.get("turnComplete") is True or content.get("interrupted") is True:
        return Mark.ENDED
    turn = content.get("modelTurn")
    parts = turn.get("parts") if isinstance(turn, dict) else None
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, dict) and part.get("thought") is not True:
            return Mark.BEGUN
    return Mark.TRANSCRIBED if content.get("inputTranscription") else None


def _of_client(message: Mapping[str, Any]) -> Mark | None:
    written = _either(message, "clientContent", "client_content")
    if written is not None:
        is_asked = _either(written, "turnComplete", "turn_complete") is True
        return Mark.STOPPED if is_asked else Mark.FORGOTTEN
    if _either(message, "toolResponse", "tool_response") is not None:
        return Mark.FORGOTTEN
    spoken = _either(message, "realtimeInput", "realtime_input")
    if _either(spoken, "activityStart", "activity_start") is not None:
        return Mark.FORGOTTEN
    is_over = _either(spoken, "activityEnd", "activity_end") is not None
    return Mark.STOPPED if is_over or _either(spoken, "text", "text") else None


def _either(holder: object, camel: str, snake: str) -> Any:
    """A field in either spelling; None where it is absent."""
    if not isinstance(holder, Mapping):
        return None
    found = holder.get(camel)
    return holder.get(snake) if found is None else found
