"""The shapes of a client's events, as tables. Pure.

After ``check`` every field that the simulator reads is absent or of its type. Fields that are not
in the tables are not checked; the simulator only echoes them. Types and bounds are those of
OpenAI's reference (Realtime, client events).
"""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from simulator.audio import BYTES_PER_S
from simulator.openai_events import SESSION_S, Event

Shape = Callable[[Any, str], None]

# Deeper nesting has no use, and would exceed Python's recursion limit where an event is copied and
# encoded for its echo.
DEPTH_MAX: Final = 64
MILLISECONDS_MAX: Final = SESSION_S * 1000
_SHOWN_CHARS: Final = 80


class ClientError(Exception):
    """A client's event is invalid or impossible now; the client gets an error event."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


def decode(text: str | bytes) -> Event:
    """The JSON object of a message; raises ``ClientError``."""
    try:
        message = json.loads(text, parse_constant=_no_json)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise ClientError("invalid_json", "The event was not a JSON object.")
    if not _can_be_echoed(message):
        raise ClientError(
            "invalid_json",
            f"Expected at most {DEPTH_MAX} levels, finite numbers and whole characters.",
        )
    return message


def check(message: Event) -> None:
    """Check an event against its type's shape; raises ``ClientError`` for the first mistake."""
    shape = EVENTS.get(str(message.get("type")))
    if shape is None:
        shown = str(message.get("type"))[:_SHOWN_CHARS]
        known = ", ".join(EVENTS)
        raise ClientError(
            "invalid_value", f"Invalid value: '{shown}'. Supported values: {known}.", "type"
        )
    _event_id(message, "")
    shape(message, "")


def event_id(message: Event) -> str | None:
    """The ``event_id`` that the client gave its event, or None."""
    found = message.get("event_id")
    return found if isinstance(found, str) else None


# --- shapes: check(value, where) raises ClientError -----------------------------------------------


def _a(expected: str, is_fit: Callable[[Any], bool]) -> Shape:
    def check_value(value: Any, where: str) -> None:
        if not is_fit(value):
            shown = json.dumps(value)[:_SHOWN_CHARS]
            raise ClientError(
                "invalid_value",
                f"Invalid value for '{where}': expected {expected}, but got {shown}.",
                where,
            )

    return check_value


def _integer(low: int, high: int) -> Shape:
    return _a(f"an integer from {low} to {high}", lambda x: type(x) is int and low <= x <= high)


def _one_of(*choices: str) -> Shape:
    return _a(f"one of {', '.join(choices)}", lambda x: isinstance(x, str) and x in choices)


def _nullable(shape: Shape) -> Shape:
    return lambda value, where: None if value is None else shape(value, where)


def _list_of(shape: Shape) -> Shape:
    is_list = _a("an array", lambda x: isinstance(x, list))

    def check_items(value: Any, where: str) -> None:
        is_list(value, where)
        for number, item in enumerate(value):
            shape(item, f"{where}[{number}]")

    return check_items


def _object(fields: Mapping[str, Shape], *, required: tuple[str, ...] = ()) -> Shape:
    is_object = _a("an object", lambda x: isinstance(x, dict))

    def check_fields(value: Any, where: str) -> None:
        is_object(value, where)
        for name in required:
            if name not in value:
                param = f"{where}.{name}".lstrip(".")
                message = f"Missing required parameter: '{param}'."
                raise ClientError("missing_required_parameter", message, param)
        for name, shape in fields.items():
            if name in value:
                shape(value[name], f"{where}.{name}".lstrip("."))

    return check_fields


def _text_or(shape: Shape) -> Shape:
    return lambda value, where: None if isinstance(value, str) else shape(value, where)


# --- the tables -----------------------------------------------------------------------------------

_TEXT: Final = _a("a string", lambda x: isinstance(x, str))
_FLAG: Final = _a("a boolean", lambda x: isinstance(x, bool))
_NUMBER: Final = _a("a number", lambda x: type(x) in (int, float))
_ANY_OBJECT: Final = _object({})
_MILLISECONDS: Final = _integer(0, MILLISECONDS_MAX)
_TOKENS: Final = _a(
    "a positive integer or 'inf'", lambda x: x == "inf" or (type(x) is int and x > 0)
)

_FORMAT: Final = _object({"type": _one_of(*BYTES_PER_S), "rate": _integer(1, 48_000)})
_TOOLS: Final = _list_of(_object({"type": _TEXT, "name": _TEXT}))
_TOOL_CHOICE: Final = _text_or(_object({"type": _TEXT, "name": _nullable(_TEXT)}))
_MODALITIES: Final = _list_of(_one_of("text", "audio"))

_TURN_DETECTION: Final = _object(
    {
        "type": _one_of("server_vad", "semantic_vad"),
        "threshold": _NUMBER,
        "prefix_padding_ms": _MILLISECONDS,
        "silence_duration_ms": _MILLISECONDS,
        "idle_timeout_ms": _nullable(_MILLISECONDS),
        "create_response": _FLAG,
        "interrupt_response": _FLAG,
    }
)
_TRANSCRIPTION: Final = _object({"model": _TEXT, "language": _TEXT, "prompt": _TEXT})
_AUDIO_IN: Final = _object(
    {
        "format": _FORMAT,
        "transcription": _nullable(_TRANSCRIPTION),
        "noise_reduction": _nullable(_object({"type": _TEXT})),
        "turn_detection": _nullable(_TURN_DETECTION),
        "transport": _nullable(_TEXT),
    }
)
_AUDIO_OUT: Final = _object(
    {
        "format": _FORMAT,
        "voice": _text_or(_ANY_OBJECT),
        "speed": _NUMBER,
        "transport": _nullable(_TEXT),
    }
)
_SESSION: Final = _object(
    {
        "type": _TEXT,
        "output_modalities": _MODALITIES,
        "instructions": _TEXT,
        "tools": _TOOLS,
        "tool_choice": _TOOL_CHOICE,
        "max_output_tokens": _TOKENS,
        "tracing": _nullable(_text_or(_ANY_OBJECT)),
        "truncation": _text_or(_ANY_OBJECT),
        "prompt": _nullable(_ANY_OBJECT),
        "include": _nullable(_list_of(_TEXT)),
        "audio": _object({"input": _AUDIO_IN, "output": _AUDIO_OUT}),
    }
)
_PART: Final = _object(
    {
        "type": _TEXT,
        "text": _nullable(_TEXT),
        "audio": _nullable(_TEXT),
        "transcript": _nullable(_TEXT),
    }
)
_ITEM: Final = _object(
    {
        "id": _nullable(_TEXT),
        "type": _TEXT,
        "object": _TEXT,
        "status": _TEXT,
        "role": _one_of("user", "assistant", "system"),
        "content": _nullable(_list_of(_PART)),
        "call_id": _TEXT,
        "name": _TEXT,
        "arguments": _nullable(_TEXT),
        "output": _nullable(_TEXT),
    },
    required=("type",),
)
_RESPONSE: Final = _object(
    {
        "output_modalities": _nullable(_MODALITIES),
        "instructions": _nullable(_TEXT),
        "tools": _nullable(_TOOLS),
        "tool_choice": _nullable(_TOOL_CHOICE),
        "max_output_tokens": _nullable(_TOKENS),
        "metadata": _nullable(_ANY_OBJECT),
        "input": _nullable(_list_of(_ANY_OBJECT)),
        "audio": _nullable(_object({"output": _AUDIO_OUT})),
    }
)
_item_id: Final = _object({"item_id": _TEXT}, required=("item_id",))
_event_id: Final = _object({"event_id": _nullable(_TEXT)})

EVENTS: Final[Mapping[str, Shape]] = {
    "session.update": _object({"session": _SESSION}, required=("session",)),
    "input_audio_buffer.append": _object({"audio": _TEXT}, required=("audio",)),
    "input_audio_buffer.commit": _ANY_OBJECT,
    "input_audio_buffer.clear": _ANY_OBJECT,
    "conversation.item.create": _object(
        {"item": _ITEM, "previous_item_id": _nullable(_TEXT)}, required=("item",)
    ),
    "conversation.item.delete": _item_id,
    "conversation.item.retrieve": _item_id,
    "conversation.item.truncate": _object(
        {"item_id": _TEXT, "content_index": _MILLISECONDS, "audio_end_ms": _MILLISECONDS},
        required=("item_id",),
    ),
    "response.create": _object({"response": _nullable(_RESPONSE)}),
    "response.cancel": _object({"response_id": _nullable(_TEXT)}),
}


# --- what can be echoed ---------------------------------------------------------------------------


def _can_be_echoed(value: Any, depth: int = DEPTH_MAX) -> bool:
    """Whether JSON and UTF-8 can carry the value back.

    Not so: an infinite number (1e999), half of a surrogate pair, or more than ``depth`` levels.
    """
    if isinstance(value, str):
        return value.isascii() or not any("\ud800" <= c <= "\udfff" for c in value)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        parts = [*value, *value.values()]
    elif isinstance(value, list):
        parts = value
    else:
        return True
    return depth > 0 and all(_can_be_echoed(part, depth - 1) for part in parts)


def _no_json(constant: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python's decoder accepts and JSON does not have."""
    raise ValueError(constant)
