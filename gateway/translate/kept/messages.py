"""What a message is, found without parsing audio. Pure."""

import re
from typing import Final

from gateway.frames import Opcode
from gateway.translate.kept.keeping import Json, Wire
from gateway.translate.marks import of_openai
from gateway.translate.to_gemini.reading import parsed

# The type of the client's audio is near the beginning or, as some SDKs sort fields, near the end;
# base64 has no quotation mark, and in a text there is a backslash before it.
_APPEND: Final = re.compile(rb'(?<!\\)"type"\s*:\s*"input_audio_buffer\.append"')
_EDGE: Final = 256
# Providers begin with the type.
_SPEECH: Final = re.compile(rb'\s*\{\s*"type"\s*:\s*"response\.output_audio\.delta"')


def is_append(message: bytes) -> bool:
    """Whether it is the client's audio."""
    end = max(0, len(message) - _EDGE)
    return bool(_APPEND.search(message, 0, _EDGE) or _APPEND.search(message, end))


def is_speech(raw: bytes, start: int) -> bool:
    """Whether the message that begins at ``start`` is the provider's audio, by its beginning."""
    return _SPEECH.match(raw, start) is not None


def event_of(message: bytes) -> Json | None:
    """The event in a message; None where it is none, or nested too deeply to be written again."""
    value = parsed(message)
    return value if value is not None and isinstance(value.get("type"), str) else None


# Binary frames are raw audio (xAI).
WIRE: Final = Wire(
    opcode=Opcode.TEXT,
    opcodes=frozenset({int(Opcode.TEXT)}),
    event_of=event_of,
    is_append=is_append,
    is_speech=is_speech,
    mark_of=of_openai,
    speaks_first=True,
)
