"""What of a session's settings another provider can be told. Pure."""

from typing import Any, Final

Json = dict[str, Any]

# Of a client's settings these are kept for another provider. Others would be without bound.
_KEPT: Final = (
    "type", "instructions", "tools", "tool_choice", "output_modalities", "max_output_tokens",
    "include", "prompt", "tracing", "truncation",
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


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}
