"""What a message of Gemini's protocol is, found without parsing audio. Pure."""

import re
from functools import lru_cache
from typing import Any, Final

from gateway.frames import Opcode
from gateway.translate.kept.keeping import Json, Wire
from gateway.translate.marks import of_gemini
from gateway.translate.to_gemini.audio_shapes import SpokenShape
from gateway.translate.to_gemini.reading import parsed

# What makes a message of the client worth parsing: nearly all others are media. (One expression
# that begins with a quotation mark passes over base64, which has none.) A name may be spelled with
# an escape.
_SAYS: Final = re.compile(
    rb'"(?:setup|client_?[cC]ontent|tool_?[rR]esponse|context_?[uU]pdate|text'
    rb'|activity_?[sS]tart|activity_?[eE]nd)"'
)
_ESCAPE: Final = b"\\"
_CAPITAL: Final = re.compile("[A-Z]")


def is_media(message: bytes) -> bool:
    """Whether a message of the client is nothing but audio and images."""
    return _ESCAPE not in message and _SAYS.search(message) is None


def wire() -> Wire:
    """That of one session: messages of the provider are binary frames, of the client text; both may
    be either.
    """
    return Wire(
        opcode=Opcode.BINARY,
        opcodes=frozenset({int(Opcode.TEXT), int(Opcode.BINARY)}),
        event_of=parsed,
        is_append=is_media,
        is_speech=SpokenShape().holds,
        mark_of=of_gemini,
        speaks_first=False,
    )


def field(parent: Json, name: str) -> Any:
    """The field ``name``, which is camelCase, also where it is spelled in snake_case."""
    value = parent.get(name)
    return parent.get(snake(name)) if value is None else value


def object_field(parent: Json, name: str) -> Json:
    """The object ``name``; empty where it is absent or something else."""
    value = field(parent, name)
    return value if isinstance(value, dict) else {}


def text_field(parent: Json, name: str) -> str:
    """The text ``name``; empty where it is absent or something else."""
    value = field(parent, name)
    return value if isinstance(value, str) else ""


def objects_field(parent: Json, name: str) -> list[Json]:
    """The objects in the list ``name``; a single one counts as a list of one."""
    value = field(parent, name)
    parts = value if isinstance(value, list) else [value]
    return [part for part in parts if isinstance(part, dict)]


@lru_cache(maxsize=64)
def snake(name: str) -> str:
    """``name`` in snake_case."""
    return _CAPITAL.sub(lambda found: f"_{found[0].lower()}", name)
