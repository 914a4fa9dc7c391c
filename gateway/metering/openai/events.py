"""Which events of the OpenAI family matter, and how their type is found without parsing. Pure."""

import re
from collections.abc import Mapping
from typing import Any, Final

from gateway.frames import Opcode
from gateway.metering.base import Unreadable
from shared.usage import RAW_USAGE_CHARS_MAX

TYPE_BYTES_MAX: Final = 128  # how far into a message its type is looked for
# The length of the head by which audio is recognised. It holds the type of each of AUDIO_TYPES
# in the providers' spelling ({"type":"response.output_audio.delta"), and nothing that varies.
AUDIO_HEAD_BYTES: Final = 40
# Bound methods: CPython 3.11 compiles a call of a method on an imported name without its fast path,
# which made a frame of raw audio a tenth slower.
match_type: Final = re.compile(rb'\s*\{\s*"type"\s*:\s*"([A-Za-z0-9_.]+)"').match
# How a JSON object begins, and raw audio hardly ever does.
match_object: Final = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*"').match
BINARY: Final = int(Opcode.BINARY)

_TRANSCRIPTION: Final = "conversation.item.input_audio_transcription"
_TRANSCRIBED: Final = f"{_TRANSCRIPTION}.completed"
# Events that carry usage: one that cannot be parsed is quarantined. A text that quotes an event has
# escaped quotation marks around the name, which do not match.
_METERED_TYPES: Final = frozenset(
    {b"response.done", _TRANSCRIBED.encode(), b"session.closed", b"session.usage.updated",
     b"decision.event"}
)  # fmt: skip
_IS_METERED: Final = re.compile(
    rb'"type"\s*:\s*"(?:%b)"' % b"|".join(re.escape(name) for name in sorted(_METERED_TYPES))
)
_IS_DELEGATED: Final = re.compile(rb'"type"\s*:\s*"response\.event"')
# What the model writes, in place of speaking: an answer, or the arguments of a call.
TEXT_TYPES: Final = frozenset(
    {
        b"response.output_text.delta", b"response.text.delta",
        b"response.function_call_arguments.delta",
    }
)  # fmt: skip
WATCHED_TYPES: Final = _METERED_TYPES | {
    b"response.created", b"session.created", b"session.started", b"session.updated",
    b"input_audio_buffer.speech_started", b"input_audio_buffer.committed",
    b"input_audio_buffer.cleared",
    f"{_TRANSCRIPTION}.failed".encode(),
    b"transcription_session.created", b"transcription_session.updated", b"response.event", b"error",
    b"response.cancel", b"conversation.created", b"transport.failed",
} | TEXT_TYPES  # fmt: skip
WORDS: Final = f"{_TRANSCRIPTION}.delta".encode()
NEEDLES: Final = (*WATCHED_TYPES, rb"\u")
AUDIO_TYPES: Final = frozenset(
    {
        b"response.output_audio.delta", b"response.audio.delta",
        b"session.output_audio.delta",
    }
)  # fmt: skip


def written_bytes(kind: str, event: Mapping[str, Any]) -> int:
    """How much of an answer is written in an event of this ``kind``, as UTF-8."""
    delta = event.get("delta")
    if kind.encode(errors="replace") not in TEXT_TYPES or not isinstance(delta, str):
        return 0
    return len(delta.encode(errors="surrogatepass"))


def unparsable(message: bytes, model: str, detail: str) -> Unreadable | None:
    """A message that is not JSON goes to quarantine when its type is one that carries usage."""
    is_delegated = _IS_DELEGATED.search(message) is not None and b'"usage"' in message
    if not is_delegated and _IS_METERED.search(message) is None:
        return None
    raw = message[:RAW_USAGE_CHARS_MAX].decode(errors="replace")
    return Unreadable("", model, f"not JSON: {detail}", raw)
