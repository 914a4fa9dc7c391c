"""Audio found in a message without decoding the rest, which nearly every message is. Pure.

Each function takes the usual spelling of one message and nothing else; what it does not take goes
the general way, and means the same there. The expressions match what stands around the audio; the
audio itself is looked at by ``find`` alone.
"""

import re
from typing import Final

# ``"name":"value"`` or a number, for any name but the two that are looked for.
_MEMBER: Final = rb'"(?!type"|delta")[a-z_]+"\s*:\s*(?:"[^"\\]*"|\d+)'
_SPOKEN: Final = re.compile(
    rb'\{"type"\s*:\s*"response\.output_audio\.delta"\s*,\s*(?:%b\s*,\s*)*"delta"\s*:\s*"' % _MEMBER
)
_REALTIME: Final = rb'\{"(?:realtimeInput|realtime_input)"\s*:\s*\{\s*"audio"\s*:\s*\{\s*'
_MIME: Final = rb'"(?:mimeType|mime_type)"\s*:\s*"([^"\\]*)"'
_DATA_FIRST: Final = re.compile(_REALTIME + rb'"data"\s*:\s*"')
_DATA_LAST: Final = re.compile(_REALTIME + _MIME + rb'\s*,\s*"data"\s*:\s*"')
_MIME_BEHIND: Final = re.compile(rb'"\s*,\s*' + _MIME + rb"\s*\}\s*\}\s*\}\s*")
_NOTHING_BEHIND: Final = re.compile(rb'"\s*\}\s*\}\s*\}\s*')


def spoken_audio(message: bytes) -> bytes | None:
    """The base64 in a provider's ``response.output_audio.delta`` that ends with it."""
    head = _SPOKEN.match(message)
    if head is None:
        return None
    start, end = head.end(), len(message) - 2
    if message.find(b'"', start) != end or message[end:] != b'"}':
        return None
    spoken = message[start:end]
    return spoken if spoken.isascii() and b"\\" not in spoken else None


def heard_audio(message: bytes) -> tuple[str, str] | None:
    """The mime type and the base64 in a client's ``realtimeInput.audio``."""
    head = _DATA_FIRST.match(message)
    rest = _MIME_BEHIND
    if head is None:
        head = _DATA_LAST.match(message)
        rest = _NOTHING_BEHIND
    if head is None:
        return None
    start = head.end()
    end = message.find(b'"', start)
    behind = rest.fullmatch(message, end) if end >= 0 else None
    if behind is None or b"\\" in message[start:end]:
        return None
    mime = head[1] if rest is _NOTHING_BEHIND else behind[1]
    try:
        return mime.decode("ascii"), message[start:end].decode("ascii")
    except UnicodeDecodeError:
        return None
