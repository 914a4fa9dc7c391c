"""What of a session's settings another provider can be told. Pure."""

from typing import Any, Final

from gateway.translate.to_openai.settings import adopted, for_provider
from gateway.translate.voices import VoiceTable
from shared.provider_kinds import kind_of

Json = dict[str, Any]

# xAI reads these at the top level, where OpenAI knows no such fields (docs.x.ai, Speech to Speech).
_XAI: Final = ("voice", "turn_detection", "resumption")
# Of a client's settings these are kept for another provider. Others would be without bound.
_KEPT: Final = (
    "type", "instructions", "tools", "tool_choice", "output_modalities", "max_output_tokens",
    "include", "prompt", "tracing", "truncation", *_XAI,
)  # fmt: skip
_KEPT_AUDIO: Final = {
    "input": ("format", "noise_reduction", "transcription", "turn_detection"),
    "output": ("format", "speed", "voice"),
}


def merge(session: Json, change: Json) -> None:
    """Put what a ``session.update`` names into ``session``; of audio each setting by itself."""
    session.update({name: change[name] for name in _KEPT if name in change})
    for direction, names in _KEPT_AUDIO.items():
        settings = _object(_object(change.get("audio")).get(direction))
        found = {name: settings[name] for name in names if name in settings}
        if found:
            session.setdefault("audio", {}).setdefault(direction, {}).update(found)


def told(session: Json) -> Json:
    """The settings of ``session`` that a provider is told, in a ``session.update``; empty: none.

    ``session`` may be a whole session object, which has fields that no client may set.
    """
    settings: Json = {}
    merge(settings, session)
    return {"type": "realtime", **settings} if settings else {}


def told_elsewhere(session: Json, provider: str, voices: VoiceTable) -> Json:
    """The same for another ``provider`` than the client spoke to, with a voice of its own; where
    none is named, for that one.
    """
    settings = told(session)
    if not settings or not provider:
        return settings
    # Null is what they are where the client has not set them, and OpenAI refuses it of some.
    settings = {name: x for name, x in settings.items() if x is not None or name in _XAI}
    if kind_of(provider) != "xai":
        settings = {name: value for name, value in settings.items() if name not in _XAI}
    made = for_provider(adopted(settings, provider, voices), provider)
    # What the client has not set is the provider's to choose.
    audio = {name: found for name, found in made.pop("audio").items() if found}
    if "turn_detection" not in audio.get("input", {}):
        made.pop("turn_detection", None)
    return {**made, "audio": audio} if audio else made


def is_manual(session: Json) -> bool:
    """Whether the client says when a turn is over."""
    audio = session.get("audio", {}).get("input", {})
    return "turn_detection" in audio and audio["turn_detection"] is None


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}
