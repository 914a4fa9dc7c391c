"""Items of the conversation, from the client's event to GA's form and to Gemini's contents. Pure.

A content is a turn of one role: ``{"role": "user", "parts": [...]}``. Roles are always named, since
Gemini takes contents in the middle of a session only with ``user`` or ``model``
(docs/models/gemini-3.8-live). A system message becomes the user's, as Gemini has one system text
for the whole session.
"""

import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, Final

from msgspec import DecodeError, json

from gateway.translate.audio import Converter, Format, encode_base64, for_gemini, gemini_mime_type
from gateway.translate.audio import decode_base64 as decoded
from gateway.translate.base import ID_CHARS_MAX
from gateway.translate.to_gemini.reading import (
    Json,
    objects_in,
    optional_text,
    required_text,
    text_in,
)
from gateway.translate.to_gemini.refusals import RefusedError, invalid, missing, unsupported

ROLES: Final = {"user": "user", "system": "user", "assistant": "model"}
_IMAGE: Final = re.compile(r"data:(image/[\w.+-]+);base64,(.+)", re.DOTALL)


def new_item(given: Json, *, item_id: str) -> Json:
    """A client's item, complete, in GA's form, with its audio; raises ``RefusedError``.

    ``item_id`` is its id where the client gave none.
    """
    kind = required_text(given, "type", "item")
    reader = _ITEMS.get(kind)
    if reader is None:
        if kind.startswith("mcp_"):
            raise unsupported("item.type", "The provider calls no MCP servers.")
        raise invalid("item.type", "'message', 'function_call' or 'function_call_output'")
    own_id = optional_text(given, "id", "item")
    if own_id is not None and not 0 < len(own_id) <= ID_CHARS_MAX:
        raise invalid("item.id", f"a string of at most {ID_CHARS_MAX} characters")
    return {
        "id": own_id or item_id,
        "object": "realtime.item",
        "type": kind,
        "status": "completed",
        **reader(given),
    }


def content_of(item: Json, *, audio: Format) -> Json | None:
    """A message as a content; None where nothing of it can be said. Raises ``RefusedError``.

    ``audio`` is the format of the session's input.
    """
    role = ROLES.get(text_in(item, "role"))
    found = [_part(part, audio) for part in objects_in(item, "content")]
    parts = [part for part in found if part is not None]
    return {"role": role, "parts": parts} if role and parts else None


def call_content(call: Json) -> Json:
    """A function's call, as the model said it."""
    arguments = _object(text_in(call, "arguments"))
    return {
        "role": "model",
        "parts": [{"functionCall": {"name": text_in(call, "name"), "args": arguments or {}}}],
    }


def output_content(name: str, output: str) -> Json:
    """A function's output as a content, for a model that did not call it itself."""
    part = {"functionResponse": {"name": name, "response": response_object(output)}}
    return {"role": "user", "parts": [part]}


def response_object(output: str) -> Json:
    """A function's output as the object that Gemini wants."""
    found = _object(output)
    return {"output": output} if found is None else found


def text_content(role: str, text: str) -> Json:
    """A content of nothing but text."""
    return {"role": role, "parts": [{"text": text}]}


def replay(items: list[Json], *, known: Collection[str], audio: Format) -> list[Json]:
    """What was said, as contents, oldest first; contents of one role are joined.

    The items ``known`` are left out, and a call without an output, too: it is told together with
    its output, when that comes.
    """
    names = names_of_calls(items)
    told = [item for item in items if item.get("id") not in known]
    answered = {text_in(x, "call_id") for x in told if x.get("type") == "function_call_output"}
    turns: list[Json] = []
    for item in told:
        content = _replayed(item, names, answered, audio)
        if content is None:
            continue
        if turns and turns[-1]["role"] == content["role"]:
            turns[-1]["parts"] += content["parts"]
        else:
            turns.append(content)
    return turns


def names_of_calls(items: list[Json]) -> dict[str, str]:
    """The functions' names by the ids of their calls."""
    calls = (item for item in items if item.get("type") == "function_call")
    return {text_in(call, "call_id"): text_in(call, "name") for call in calls}


def shown(item: Json) -> Json:
    """``item`` as an event shows it: without its audio."""
    if "content" not in item:
        return item
    parts = objects_in(item, "content")
    return {
        **item,
        "content": [{name: part[name] for name in part if name != "audio"} for part in parts],
    }


def _replayed(item: Json, names: dict[str, str], answered: set[str], audio: Format) -> Json | None:
    call_id = text_in(item, "call_id")
    if item.get("type") == "function_call":
        return call_content(item) if call_id in answered else None
    if item.get("type") == "function_call_output":
        name = names.get(call_id)  # None where the call is too old to be kept
        return output_content(name, text_in(item, "output")) if name else None
    with suppress(RefusedError):  # an image that another provider could fetch
        return content_of(item, audio=audio)
    return None


def _object(text: str) -> Json | None:
    try:
        found = json.decode(text)
    except (DecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


# --- the client's items ---------------------------------------------------------------------------


def _message(given: Json) -> Json:
    role = required_text(given, "role", "item")
    if role not in ROLES:
        raise invalid("item.role", "'user', 'assistant' or 'system'")
    content = given.get("content")
    if content is None:
        raise missing("item.content")
    if not isinstance(content, list):
        raise invalid("item.content", "an array")
    parts = []
    for number, part in enumerate(content):
        path = f"item.content[{number}]"
        if not isinstance(part, dict):
            raise invalid(path, "an object")
        kind = required_text(part, "type", path)
        names = _PARTS[role].get(kind)
        if names is None:
            raise invalid(f"{path}.type", " or ".join(f"'{name}'" for name in _PARTS[role]))
        found = {name: optional_text(part, name, path) for name in names}
        if found[names[0]] is None and names[0] != "transcript":
            raise missing(f"{path}.{names[0]}")
        parts.append({"type": kind, **found})
    return {"role": role, "content": parts}


def _call(given: Json) -> Json:
    return {name: required_text(given, name, "item") for name in ("call_id", "name", "arguments")}


def _output(given: Json) -> Json:
    return {name: required_text(given, name, "item") for name in ("call_id", "output")}


_ITEMS: Final[Mapping[str, Callable[[Json], Json]]] = {
    "message": _message,
    "function_call": _call,
    "function_call_output": _output,
}
# The parts of a message by its role, and their fields. The first one is the part's own.
_PARTS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "user": {
        "input_text": ("text",),
        "input_audio": ("audio", "transcript"),
        "input_image": ("image_url", "detail"),
    },
    "system": {"input_text": ("text",)},
    "assistant": {"output_text": ("text",), "output_audio": ("transcript",)},
}


# --- parts of a content ---------------------------------------------------------------------------


def _part(found: Json, audio: Format) -> Json | None:
    kind = found["type"]
    if kind == "input_audio" and found.get("audio"):
        return {"inlineData": _pcm(found["audio"], audio)}
    if kind == "input_image":
        return {"inlineData": _image(found.get("image_url"))}
    text = found.get("text") or found.get("transcript")
    return {"text": text} if text else None


def _pcm(data: str, audio: Format) -> Json:
    target = for_gemini(audio)
    try:
        pcm = Converter(audio, target).feed(decoded(data))
    except ValueError as error:
        raise RefusedError("invalid_value", str(error), "item.content.audio") from None
    return {"mimeType": gemini_mime_type(target), "data": encode_base64(pcm)}


def _image(url: Any) -> Json:
    found = _IMAGE.fullmatch(url) if isinstance(url, str) else None
    if found is None:
        raise unsupported("item.content.image_url", "Only data URLs in base64 are possible.")
    try:
        data = encode_base64(decoded(found[2]))
    except ValueError as error:
        raise RefusedError("invalid_value", str(error), "item.content.image_url") from None
    return {"mimeType": found[1], "data": data}
