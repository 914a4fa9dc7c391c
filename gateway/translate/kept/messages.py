"""What a message is, found without parsing audio. Pure."""

import re
from typing import Any, Final

from gateway.translate.to_gemini.reading import parsed

Json = dict[str, Any]

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
