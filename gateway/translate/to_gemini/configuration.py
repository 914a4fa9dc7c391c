"""The session that is in effect, in OpenAI's GA form, and what a client may change of it. Pure.

``session.update`` merges into it at every depth. The event is applied whole or not at all. What is
shown (``session.created``, ``session.updated``) is what is in effect: what Gemini has no word for
is null there.
"""

from collections.abc import Mapping
from typing import Any, Final

from gateway.translate.to_gemini import session_fields as read
from gateway.translate.to_gemini.reading import Json
from gateway.translate.to_gemini.refusals import missing, unknown
from gateway.translate.to_gemini.session_fields import Reader, Reading

DEFAULT_VOICE: Final = "alloy"

_INPUT: Final[Mapping[str, Reader]] = {
    "format": read.audio_format,
    "transcription": read.transcription,
    "noise_reduction": read.without_effect,
    "turn_detection": read.turn_detection,
}
_OUTPUT: Final[Mapping[str, Reader]] = {
    "format": read.audio_format,
    "voice": read.voice,
    "speed": read.speed,
}
_SESSION: Final[Mapping[str, Reader]] = {
    "type": read.kind_of_session,
    "object": read.server_only,
    "id": read.server_only,
    "expires_at": read.server_only,
    "model": read.model,
    "output_modalities": read.modalities,
    "instructions": read.text,
    "tools": read.tools,
    "tool_choice": read.tool_choice,
    "max_output_tokens": read.output_tokens,
    "audio": read.fields({"input": read.fields(_INPUT), "output": read.fields(_OUTPUT)}),
    "truncation": read.truncation,
    "prompt": read.not_supported,
    "tracing": read.without_effect,
    "include": read.without_effect,
    "parallel_tool_calls": read.without_effect,
    "reasoning": read.without_effect,
    "temperature": read.without_effect,
    "metadata": read.without_effect,
}
# These hold settings, and are none.
_HOLDERS: Final = ("audio", "input", "output")
# What OpenAI does not show in a session, though a client may send it.
_NOT_SHOWN: Final = ("temperature", "metadata")


def default_session(*, session_id: str, model: str) -> Json:
    """The session before the client has configured anything."""
    pcm = {"type": "audio/pcm", "rate": 24_000}
    return {
        "type": "realtime",
        "object": "realtime.session",
        "id": session_id,
        "model": model,
        "output_modalities": ["audio"],
        "instructions": "",
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "audio": {
            "input": {
                "format": pcm,
                "transcription": None,
                "noise_reduction": None,
                "turn_detection": dict(read.SERVER_VAD),
            },
            "output": {"format": dict(pcm), "voice": DEFAULT_VOICE, "speed": 1.0},
        },
        "tracing": None,
        "truncation": "auto",
        "prompt": None,
        "include": None,
    }


def updated(session: Json, given: Json, reading: Reading) -> Json:
    """``session`` with a client's ``session.update`` in it; raises ``RefusedError``."""
    if "type" not in given:
        raise missing("session.type")
    return _merged(session, given, reading)


def adopted(session: Json, given: Json, reading: Reading) -> Json:
    """``session`` with as much of ``given`` as Gemini has words for: the session of a conversation
    that another provider had before. ``reading`` is a lenient one.
    """
    known = {name: value for name, value in given.items() if name in _SESSION}
    reading.ignored += [f"session.{name}" for name in given if name not in known]
    return _merged(session, known, reading)


def restored(session: Json, became: Json, given: Json) -> Json:
    """``session`` for another provider again: what the client has not changed since is as in
    ``given``, which ``became`` was made of; what it never configured is that provider's to choose.
    """
    made: Json = {}
    for name in {**given, **session}:
        now, was, value = session.get(name), became.get(name), given.get(name)
        if name in _HOLDERS:
            if held := restored(now or {}, was or {}, value or {}):
                made[name] = held
        elif now != was:
            made[name] = _changed(now, was, value)
        elif name in given:
            made[name] = value
    return made


def _changed(now: Any, was: Any, value: Any) -> Any:
    """A setting that the client has changed; of an object it may be a part only."""
    if not all(isinstance(each, dict) for each in (now, was, value)):
        return now
    return {**now, **{name: x for name, x in value.items() if now.get(name) == was.get(name)}}


def _merged(session: Json, given: Json, reading: Reading) -> Json:
    for name in given:
        if name not in _SESSION:
            raise unknown(f"session.{name}")
    merged = read.fields(_SESSION)(reading, session, given, "session")
    return {name: value for name, value in merged.items() if name not in _NOT_SHOWN}


def is_spoken(session: Json) -> bool:
    """Whether the model answers with audio."""
    return "audio" in session["output_modalities"]


def turn_detection(session: Json) -> Json | None:
    """None: the client says when the user's turn is over."""
    found: Json | None = session["audio"]["input"]["turn_detection"]
    return found


def is_transcribed(session: Json) -> bool:
    """Whether the client wants to read what the user said."""
    return session["audio"]["input"]["transcription"] is not None
