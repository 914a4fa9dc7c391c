"""Translates between the GA protocol and the beta's, which Azure's older interfaces still use."""

from collections.abc import Mapping
from typing import Any, Final

from simulator.dialect import Dialect
from simulator.openai_events import Event

# Each setting of the beta's flat session object, and its path in GA's nested one.
_PLACES: Final[Mapping[str, tuple[str, ...]]] = {
    "modalities": ("output_modalities",),
    "max_response_output_tokens": ("max_output_tokens",),
    "voice": ("audio", "output", "voice"),
    "speed": ("audio", "output", "speed"),
    "output_audio_format": ("audio", "output", "format"),
    "input_audio_format": ("audio", "input", "format"),
    "input_audio_transcription": ("audio", "input", "transcription"),
    "input_audio_noise_reduction": ("audio", "input", "noise_reduction"),
    "turn_detection": ("audio", "input", "turn_detection"),
}
_FORMATS: Final[Mapping[str, Event]] = {
    "pcm16": {"type": "audio/pcm", "rate": 24_000},
    "g711_ulaw": {"type": "audio/pcmu"},
    "g711_alaw": {"type": "audio/pcma"},
}
_SHARED: Final = ("id", "object", "model", "expires_at", "instructions", "tools", "tool_choice")
_KINDS: Final[Mapping[str, str]] = {
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
    "response.output_text.delta": "response.text.delta",
    "response.output_text.done": "response.text.done",
    "conversation.item.added": "conversation.item.created",
}
_PARTS: Final[Mapping[str, str]] = {"output_text": "text", "output_audio": "audio"}
_TEMPERATURE: Final = 0.8


class BetaDialect(Dialect):
    """One connection that uses the beta's names. Its transcriptions report no usage."""

    is_strict = False

    def inward(self, message: Event) -> Event:
        """A client's event in GA's form: settings move to their paths in GA's session."""
        for kind, name in (("session.update", "session"), ("response.create", "response")):
            if message.get("type") == kind and isinstance(message.get(name), dict):
                return {**message, name: _nested(message[name])}
        return message

    def outward(self, event: Event) -> list[Event | bytes]:
        """An event in the beta's form: old names, a flat session, no ``obfuscation``."""
        kind = event["type"]
        if kind == "conversation.item.done":
            return []
        told = {name: value for name, value in event.items() if name != "obfuscation"}
        told["type"] = _KINDS.get(kind, kind)
        if kind.endswith("input_audio_transcription.completed"):
            del told["usage"]
        if "session" in told:
            told["session"] = _flat(told["session"])
        if "item" in told:
            told["item"] = _item(told["item"])
        if "response" in told:
            told["response"] = _response(told["response"])
        return [told]


def _nested(flat: Event) -> Event:
    nested: Event = {}
    for name, value in flat.items():
        *way, last = _PLACES.get(name, (name,))
        at = nested
        for step in way:
            inner = at.setdefault(step, {})
            at = inner if isinstance(inner, dict) else at
        is_named = name.endswith("_format") and isinstance(value, str)
        at[last] = dict(_FORMATS.get(value, {"type": value})) if is_named else value
    return nested


def _flat(session: Event) -> Event:
    flat: Event = {name: session[name] for name in _SHARED if name in session}
    for name, (*way, last) in _PLACES.items():
        at: Any = session
        for step in way:
            at = at[step]
        flat[name] = at.get(last)
    flat["modalities"] = _modalities(session["output_modalities"])
    for name in ("input_audio_format", "output_audio_format"):
        flat[name] = _format(flat[name])
    return {**flat, "temperature": session.get("temperature", _TEMPERATURE)}


def _response(body: Event) -> Event:
    out = body["audio"]["output"]
    told = {x: v for x, v in body.items() if x not in ("audio", "output_modalities", "output")}
    told["output"] = [_item(item) for item in body["output"]]
    told["modalities"] = _modalities(body["output_modalities"])
    told["voice"] = out["voice"]
    told["output_audio_format"] = _format(out["format"])
    told["temperature"] = _TEMPERATURE
    usage = told.get("usage")
    if isinstance(usage, dict) and "output_token_details" in usage:
        details = {**usage["output_token_details"], "reasoning_tokens": 0}
        told["usage"] = {**usage, "output_token_details": details}
    return told


def _item(item: Event) -> Event:
    if not isinstance(item.get("content"), list):
        return item
    parts = [
        {**part, "type": _PARTS[part["type"]]} if part.get("type") in _PARTS else part
        for part in item["content"]
    ]
    return {**item, "content": parts}


def _modalities(found: list[str]) -> list[str]:
    """The beta's modalities: a session with audio always lists text as well."""
    return ["text", "audio"] if "audio" in found else ["text"]


def _format(found: Event) -> str:
    return next((name for name, value in _FORMATS.items() if value["type"] == found["type"]), "")
