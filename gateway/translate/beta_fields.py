"""Sessions, responses and items in the names of OpenAI's beta, and in those of GA. Pure.

The beta's session is flat, GA's is nested; values are the same but for formats, modalities and the
types of an assistant's content. Fields that no table names are passed on as they are, in both
directions, so that the provider itself says what it does not know.

Sources: ``openai.types.beta.realtime`` and ``openai.types.realtime`` of the SDK, and OpenAI's guide
to migrating from the beta.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

Json = dict[str, Any]
Path = tuple[str, ...]

# Each field of the beta's session that has another place in GA's.
SESSION_PLACES: Final[Mapping[str, Path]] = {
    "modalities": ("output_modalities",),
    "max_response_output_tokens": ("max_output_tokens",),
    "input_audio_format": ("audio", "input", "format"),
    "input_audio_noise_reduction": ("audio", "input", "noise_reduction"),
    "input_audio_transcription": ("audio", "input", "transcription"),
    "turn_detection": ("audio", "input", "turn_detection"),
    "output_audio_format": ("audio", "output", "format"),
    "speed": ("audio", "output", "speed"),
    "voice": ("audio", "output", "voice"),
}
# What ``response.create`` has of these.
RESPONSE_PLACES: Final[Mapping[str, Path]] = {
    name: SESSION_PLACES[name]
    for name in ("modalities", "max_response_output_tokens", "output_audio_format", "voice")
}
# In a response that the server tells of, the bound on tokens has GA's name in the beta as well.
_TOLD_PLACES: Final[Mapping[str, Path]] = {
    name: SESSION_PLACES[name] for name in ("modalities", "output_audio_format", "voice")
}
# What GA has no word for, and what only the server may say: GA refuses them all.
SESSION_DROPPED: Final = frozenset(
    {"temperature", "model", "client_secret", "id", "object", "expires_at"}
)
RESPONSE_DROPPED: Final = frozenset({"temperature"})
# A session that transcribes makes no answers.
TRANSCRIPTION_DROPPED: Final = SESSION_DROPPED | {"modalities"}
# What the beta's session does not have.
_GA_ONLY: Final = frozenset(
    {"type", "audio", "output_modalities", "max_output_tokens", "truncation", "prompt", "reasoning",
     "parallel_tool_calls"}
)  # fmt: skip
_BETA_ITEMS: Final = ("message", "function_call", "function_call_output")
_FORMATS: Final[Mapping[str, Json]] = {
    "pcm16": {"type": "audio/pcm", "rate": 24_000},
    "g711_ulaw": {"type": "audio/pcmu"},
    "g711_alaw": {"type": "audio/pcma"},
}
_FORMAT_NAMES: Final = {value["type"]: name for name, value in _FORMATS.items()}
_GA_PARTS: Final[Mapping[str, str]] = {"text": "output_text", "audio": "output_audio"}
_BETA_PARTS: Final = {ga: beta for beta, ga in _GA_PARTS.items()}
# GA has no temperature: its models speak with the beta's default.
_TEMPERATURE: Final = 0.8


def ga_settings(
    flat: Json, places: Mapping[str, Path], dropped: frozenset[str]
) -> tuple[Json, list[str]]:
    """A client's session or response in GA's form, and the names of what is dropped."""
    made: Json = {}
    for name, value in flat.items():
        if name in dropped:
            continue
        *way, last = places.get(name, (name,))
        at = made
        for step in way:
            if not isinstance(at.get(step), dict):
                at[step] = {}
            at = at[step]
        convert = _TO_GA.get(name)
        at[last] = convert(value) if convert is not None else value
    return made, [name for name in flat if name in dropped]


def ga_item(item: Json) -> Json:
    """A client's item: what the assistant said has other types in GA."""
    return _with_parts(item, _GA_PARTS) if item.get("role") == "assistant" else item


def beta_session(session: Json) -> Json:
    """The session that a server tells of, flat; of a transcription without what answers need."""
    made = {name: value for name, value in session.items() if name not in _GA_ONLY}
    _put_flat(made, session, SESSION_PLACES)
    if session.get("type") == "transcription":
        return {**made, "client_secret": None}
    return {"temperature": _TEMPERATURE, **made}


def beta_response(response: Json) -> Json:
    """The response that a server tells of, flat, with its items in the beta's form."""
    names = ("audio", "output_modalities")
    made = {name: value for name, value in response.items() if name not in names}
    _put_flat(made, response, _TOLD_PLACES)
    if isinstance(made.get("output"), list):
        items = [beta_item(item) for item in made["output"] if isinstance(item, dict)]
        made["output"] = [item for item in items if item is not None]
    if not isinstance(made.get("status_details", {}), dict):  # xAI: "unimplemented"
        made["status_details"] = None
    return {"temperature": _TEMPERATURE, **made}


def beta_item(item: Json) -> Json | None:
    """An item that a server tells of; None for a kind that the beta does not have (MCP)."""
    if item.get("type", "message") not in _BETA_ITEMS:
        return None
    return _with_parts(item, _BETA_PARTS)


def beta_part(part: Json) -> Json:
    """A part of an item's content."""
    return _part(part, _BETA_PARTS)


def _put_flat(made: Json, nested: Json, places: Mapping[str, Path]) -> None:
    """Put what ``nested`` has at these places flat into ``made``."""
    for name, (*way, last) in places.items():
        at: object = nested
        for step in way:
            at = at.get(step) if isinstance(at, dict) else None
        if isinstance(at, dict) and last in at:
            convert = _TO_BETA.get(name)
            made[name] = convert(at[last]) if convert is not None else at[last]


def _with_parts(item: Json, kinds: Mapping[str, str]) -> Json:
    content = item.get("content")
    if not isinstance(content, list):
        return item
    parts = [_part(part, kinds) if isinstance(part, dict) else part for part in content]
    return {**item, "content": parts}


def _part(part: Json, kinds: Mapping[str, str]) -> Json:
    kind = part.get("type")
    known = kinds.get(kind) if isinstance(kind, str) else None
    return part if known is None else {**part, "type": known}


def _ga_format(value: Any) -> Any:
    """One that nobody knows is given by its name, for the provider to refuse."""
    return dict(_FORMATS.get(value, {"type": value})) if isinstance(value, str) else value


def _ga_modalities(value: Any) -> Any:
    """GA says audio where the beta says both: there is no audio without its transcript."""
    return ["audio"] if isinstance(value, list) and "audio" in value else value


def _ga_items(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return [ga_item(item) if isinstance(item, dict) else item for item in value]


def _beta_format(value: Any) -> Any:
    kind = value.get("type") if isinstance(value, dict) else None
    return _FORMAT_NAMES.get(kind, kind) if isinstance(kind, str) else value


def _beta_modalities(value: Any) -> Any:
    return ["text", "audio"] if isinstance(value, list) and "audio" in value else value


_Convert = Callable[[Any], Any]
_TO_GA: Final[Mapping[str, _Convert]] = {
    "modalities": _ga_modalities,
    "input_audio_format": _ga_format,
    "output_audio_format": _ga_format,
    "input": _ga_items,
}
_TO_BETA: Final[Mapping[str, _Convert]] = {
    "modalities": _beta_modalities,
    "input_audio_format": _beta_format,
    "output_audio_format": _beta_format,
}
