"""What OpenAI GA refuses in a client's event beyond wrong types: names and values. Pure.

The names are those of the ``openai`` SDK's types of client events, from which a test derives them
again. The error codes are the real server's (``unknown_parameter``, ``missing_required_parameter``,
``invalid_value``, ``string_above_max_length``). The dialects have fields of their own and are not
held to this.
"""

from collections.abc import Mapping
from typing import Any, Final

from simulator.client_events import ClientError
from simulator.openai_events import Event

# A mapping names the fields of an object, also of each object in a list. What is None is not
# looked into: a value, or something that belongs to the application.
Fields = Mapping[str, Any]


def _fields(*names: str, **nested: Fields) -> Fields:
    return {**dict.fromkeys(names), **nested}


_ITEM_FIELDS: Final = _fields(
    "id", "type", "object", "status", "role", "call_id", "name", "arguments", "output",
    "approval_request_id", "approve", "reason", "server_label",
    content=_fields("type", "text", "audio", "transcript", "image_url", "detail"),
    tools=_fields("input_schema", "name", "annotations", "description"),
    error=_fields("code", "message", "type"),
)  # fmt: skip
_FILTERS: Final = _fields("read_only", "tool_names")
_TOOL_FIELDS: Final = _fields(
    "type", "name", "description", "parameters", "server_label", "allowed_callers",
    "authorization", "connector_id", "defer_loading", "headers", "server_description",
    "server_url", "tunnel_id",
    allowed_tools=_FILTERS, require_approval=_fields(always=_FILTERS, never=_FILTERS),
)  # fmt: skip
_FORMAT_FIELDS: Final = _fields("type", "rate")
_VOICE_FIELDS: Final = _fields("id")
_SHARED: Final[Fields] = {
    **_fields(
        "instructions", "max_output_tokens", "output_modalities", "parallel_tool_calls",
        prompt=_fields("id", "variables", "version"), reasoning=_fields("effort"),
        tool_choice=_fields("type", "name", "server_label"), tools=_TOOL_FIELDS,
    ),
}  # fmt: skip
_HEARD: Final = _fields(
    format=_FORMAT_FIELDS,
    noise_reduction=_fields("type", "strength"),
    transcription=_fields("delay", "keywords", "language", "languages", "model", "prompt"),
    turn_detection=_fields(
        "type", "create_response", "idle_timeout_ms", "interrupt_response", "prefix_padding_ms",
        "silence_duration_ms", "threshold", "eagerness",
    ),
)  # fmt: skip
_SESSION_FIELDS: Final[Fields] = {
    **_fields("type", "include", "model"),
    **_SHARED,
    "audio": _fields(
        input=_HEARD, output=_fields("speed", format=_FORMAT_FIELDS, voice=_VOICE_FIELDS)
    ),
    "tracing": _fields("group_id", "metadata", "workflow_name"),
    "truncation": _fields(
        "retention_ratio", "type", token_limits=_fields("post_instructions")
    ),
}  # fmt: skip
_RESPONSE_FIELDS: Final[Fields] = {
    **_fields("conversation", "metadata"),
    **_SHARED,
    "input": _ITEM_FIELDS,
    "audio": _fields(output=_fields(format=_FORMAT_FIELDS, voice=_VOICE_FIELDS)),
}
EVENT_FIELDS: Final[Mapping[str, Fields]] = {
    kind: {"type": None, "event_id": None, **names}
    for kind, names in {
        "session.update": _fields(session=_SESSION_FIELDS),
        "input_audio_buffer.append": _fields("audio"),
        "input_audio_buffer.commit": {},
        "input_audio_buffer.clear": {},
        "conversation.item.create": _fields("previous_item_id", item=_ITEM_FIELDS),
        "conversation.item.delete": _fields("item_id"),
        "conversation.item.retrieve": _fields("item_id"),
        "conversation.item.truncate": _fields("item_id", "content_index", "audio_end_ms"),
        "response.create": _fields(response=_RESPONSE_FIELDS),
        "response.cancel": _fields("response_id"),
    }.items()
}

VOICES: Final = (
    "alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar",
)  # fmt: skip
ITEM_ID_CHARS_MAX: Final = 32
# What each role may say.
CONTENT_TYPES: Final = {
    "user": ("input_text", "input_audio", "input_image"),
    "assistant": ("output_text", "output_audio"),
    "system": ("input_text",),
}
_SCHEMA_TYPES: Final = ("string", "number", "integer", "boolean", "object", "array", "null")


def check_fields(event: Event) -> None:
    """Refuse names and values that OpenAI refuses; the types were checked before."""
    _names(event, EVENT_FIELDS[event["type"]], "")
    if event["type"] == "session.update":
        _session(event["session"])
    elif event["type"] == "response.create":
        _shared(event.get("response") or {}, "response")
    elif event["type"] == "conversation.item.create":
        _item(event["item"])


def _names(value: Any, known: Fields, where: str) -> None:
    if isinstance(value, list):
        for number, part in enumerate(value):
            _names(part, known, f"{where}[{number}]")
    elif isinstance(value, dict):
        for name, part in value.items():
            at = f"{where}.{name}".lstrip(".")
            if name not in known:
                raise ClientError("unknown_parameter", f"Unknown parameter: '{at[:80]}'.", at)
            if known[name] is not None:
                _names(part, known[name], at)


def _session(session: Event) -> None:
    if "type" not in session:
        where = "session.type"
        message = f"Missing required parameter: '{where}'."
        raise ClientError("missing_required_parameter", message, where)
    _one_of(session["type"], ("realtime", "transcription"), "session.type")
    _shared(session, "session")
    _format(session.get("audio", {}).get("input", {}), "session.audio.input")


def _shared(body: Event, where: str) -> None:
    """What a session and a response have in common."""
    out = (body.get("audio") or {}).get("output") or {}
    if isinstance(out.get("voice"), str):
        _one_of(out["voice"], VOICES, f"{where}.audio.output.voice")
    _format(out, f"{where}.audio.output")
    modalities = body.get("output_modalities")
    if modalities is not None and modalities not in (["text"], ["audio"]):
        raise _invalid(modalities, "['text'] and ['audio']", f"{where}.output_modalities")
    for number, tool in enumerate(body.get("tools") or []):
        _schema(tool.get("parameters"), f"{where}.tools[{number}].parameters")


def _format(audio: Event, where: str) -> None:
    """PCM has one rate; the others name none."""
    found = audio.get("format") or {}
    if found.get("type") == "audio/pcm" and found.get("rate", 24_000) != 24_000:
        raise _invalid(found["rate"], "24000", f"{where}.format.rate")


def _item(item: Event) -> None:
    if len(item.get("id") or "") > ITEM_ID_CHARS_MAX:
        message = f"Invalid 'item.id': string too long, at most {ITEM_ID_CHARS_MAX} characters."
        raise ClientError("string_above_max_length", message, "item.id")
    if item["type"] == "message":
        allowed = CONTENT_TYPES.get(str(item.get("role")), ())
        for number, part in enumerate(item.get("content") or []):
            _one_of(part.get("type"), allowed, f"item.content[{number}].type")


def _schema(schema: Any, where: str) -> None:
    """A JSON Schema's types are in lower case."""
    if not isinstance(schema, dict):
        return
    if isinstance(schema.get("type"), str):
        _one_of(schema["type"], _SCHEMA_TYPES, f"{where}.type")
    properties = schema.get("properties")
    for name, inner in (properties if isinstance(properties, dict) else {}).items():
        _schema(inner, f"{where}.properties.{name}")
    _schema(schema.get("items"), f"{where}.items")


def _one_of(found: Any, allowed: tuple[str, ...], where: str) -> None:
    if found not in allowed:
        raise _invalid(found, ", ".join(map(repr, allowed)), where)


def _invalid(found: Any, supported: str, where: str) -> ClientError:
    message = f"Invalid value: {str(found)[:40]!r}. Supported values are: {supported}."
    return ClientError("invalid_value", message, where)
