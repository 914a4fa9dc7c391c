"""JSON of a peer: parsed within bounds, and read without trust in its types. Pure."""

import re
from typing import Any, Final

from msgspec import DecodeError, json

from gateway.translate.to_gemini.refusals import RefusedError, invalid, missing

Json = dict[str, Any]

# Deeper values are refused: what is read has to be written again, and both are recursive. A tool's
# schema has two levels for each of its own.
DEPTH_MAX: Final = 128
_BRACKETS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|([\[{])|([\]}])', re.DOTALL)


def parsed(message: bytes) -> Json | None:
    """The JSON object in ``message``; None where it is none, or nested too deeply."""
    if _is_too_deep(message):
        return None
    try:
        value = json.decode(message)
    except DecodeError:
        return None
    return value if isinstance(value, dict) else None


def _is_too_deep(message: bytes) -> bool:
    if message.count(b"{") + message.count(b"[") <= DEPTH_MAX:
        return False
    depth = 0
    for found in _BRACKETS.finditer(message):
        depth += (found[1] is not None) - (found[2] is not None)
        if depth > DEPTH_MAX:
            return True
    return False


def object_in(parent: Json, name: str) -> Json:
    """The object ``name``; empty where it is absent or something else."""
    value = parent.get(name)
    return value if isinstance(value, dict) else {}


def objects_in(parent: Json, name: str) -> list[Json]:
    """The objects in the list ``name``; none where it is absent or something else."""
    value = parent.get(name)
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []


def text_in(parent: Json, name: str) -> str:
    """The text ``name``; empty where it is absent or something else."""
    value = parent.get(name)
    return value if isinstance(value, str) else ""


def required_text(parent: Json, name: str, path: str) -> str:
    """The text ``name`` of a client's event; raises ``RefusedError``."""
    value = parent.get(name)
    param = f"{path}.{name}" if path else name
    if value is None:
        raise missing(param)
    if not isinstance(value, str):
        raise invalid(param, "a string")
    return value


def optional_text(parent: Json, name: str, path: str) -> str | None:
    """The text ``name`` of a client's event, None where it is absent; raises ``RefusedError``."""
    return None if parent.get(name) is None else required_text(parent, name, path)


def required_count(parent: Json, name: str) -> int:
    """The integer ``name`` of a client's event, zero or more; raises ``RefusedError``."""
    value = parent.get(name)
    if value is None:
        raise missing(name)
    if type(value) is not int or value < 0:
        raise invalid(name, "an integer of zero or more")
    return value


def required_object(parent: Json, name: str) -> Json:
    """The object ``name`` of a client's event; raises ``RefusedError``."""
    value = parent.get(name)
    if value is None:
        raise missing(name)
    if not isinstance(value, dict):
        raise invalid(name, "an object")
    return value


def not_json() -> RefusedError:
    """What no message of the client may be."""
    return RefusedError("invalid_json", "The message is not a JSON object that can be read.")
