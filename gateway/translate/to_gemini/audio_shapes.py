"""Audio taken out of a message without parsing it, where the message has its usual shape. Pure.

Nearly all messages of a session are audio, and base64 needs no change on its way: what is found
here is the payload between its quotes. A message of any other shape, also one that says the same,
gives None and is parsed. What is found here is what the parser would find.

Shapes: those of the OpenAI SDKs, livekit and pipecat; Gemini's pretty-printed messages.
"""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from gateway.translate.audio import decode_base64

_SPACE: Final = rb"[ \t\r\n]*"
_STRING: Final = rb'"[^"\\\x00-\x1f\x80-\xff]*"'


def _tokens(*tokens: bytes) -> bytes:
    """``tokens`` with any white space of JSON before each."""
    return b"".join(_SPACE + token for token in tokens)


_EVENT_ID: Final = _tokens(b'"event_id"', b":", _STRING)
_KIND: Final = _tokens(b'"type"', b":", rb'"input_audio_buffer\.append"')
_FIELD: Final = b"(?:" + _EVENT_ID + b"|" + _KIND + b")"
_COMMA: Final = _tokens(b",")
_HEAD: Final = re.compile(
    _tokens(rb"\{") + b"(?:" + _FIELD + _COMMA + b"){0,2}" + _tokens(b'"audio"', b":", b'"')
)
_TAIL: Final = re.compile(b'"(?:' + _COMMA + _FIELD + b"){0,2}" + _tokens(rb"\}", b""))
_NAMES: Final = re.compile(b'"(type|event_id)"' + _SPACE + b":")
# Each field once: of one that stands twice, a parser takes the last.
_FIELDS: Final = ([b"type"], [b"type", b"event_id"], [b"event_id", b"type"])

# Vertex AI names the role.
_ROLE: Final = _tokens(b'"role"', b":", b'"model"')
_SPOKEN_HEAD: Final = re.compile(
    _tokens(rb"\{", b'"serverContent"', b":", rb"\{", b'"modelTurn"', b":", rb"\{")
    + b"(?:" + _ROLE + _COMMA + b")?"
    + _tokens(b'"parts"', b":", rb"\[", rb"\{", b'"inlineData"', b":", rb"\{")
    + _tokens(b'"mimeType"', b":", b'"audio/pcm;rate=24000"', b",", b'"data"', b":", b'"')
)  # fmt: skip
_SPOKEN_TAIL: Final = re.compile(
    b'"' + _tokens(rb"\}", rb"\}", rb"\]") + b"(?:" + _COMMA + _ROLE + b")?"
    + _tokens(rb"\}", rb"\}", rb"\}", b"")
)  # fmt: skip
# All characters of base64. What is left of a payload without them is no base64.
_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_PADDING_MAX: Final = 2


class Payload(NamedTuple):
    """Base64 as it stands in a message, and how many bytes it stands for."""

    data: bytes
    size: int


class AudioShape:
    """Messages of one kind, as one peer writes them.

    What stood around the audio of the last one is remembered: the next one mostly begins and ends
    with the same bytes, and then only what is between them is looked at.
    """

    __slots__ = ("_after", "_before", "_head", "_is_whole", "_size", "_tail")

    def __init__(
        self,
        head: re.Pattern[bytes],
        tail: re.Pattern[bytes],
        is_whole: Callable[[bytes], bool] = lambda _around: True,
    ) -> None:
        """``is_whole`` is asked of what stands around the audio."""
        self._head = head
        self._tail = tail
        self._is_whole = is_whole
        self._before = self._after = b""
        self._size = 1 << 62  # of both: no message is as long before one was found

    def find(self, message: bytes) -> Payload | None:
        """The audio in ``message``; None where it may be of another kind."""
        before, after = self._before, self._after
        is_same = message.startswith(before) and message.endswith(after)
        if is_same and len(message) >= self._size:
            found = payload_of(message[len(before) : -len(after)])
            if found is not None:
                return found
        return self._search(message)

    def _search(self, message: bytes) -> Payload | None:
        head = self._head.match(message)
        if head is None:
            return None
        end = message.find(b'"', head.end())
        tail = self._tail.fullmatch(message, end) if end >= 0 else None
        if tail is None or not self._is_whole(head[0] + tail[0]):
            return None
        found = payload_of(message[head.end() : end])
        if found is not None:
            self._before, self._after = head[0], tail[0]
            self._size = len(head[0]) + len(tail[0])
        return found


def appended() -> AudioShape:
    """The shape of ``input_audio_buffer.append``, of one client."""
    return AudioShape(_HEAD, _TAIL, lambda around: _NAMES.findall(around) in _FIELDS)


def spoken() -> AudioShape:
    """The shape of a ``serverContent`` that is nothing but speech at 24 kHz, of one provider."""
    return AudioShape(_SPOKEN_HEAD, _SPOKEN_TAIL)


class SpokenShape:
    """The shape of ``spoken`` inside of frames: whether a message has it, whatever its audio is. As
    in ``AudioShape``, what stood around the audio of the last one is remembered.
    """

    __slots__ = ("_after", "_before")

    def __init__(self) -> None:
        self._before = self._after = b""

    def holds(self, raw: bytes, start: int) -> bool:
        """Whether the message that begins at ``start`` has it."""
        before, after = self._before, self._after
        if before and raw.startswith(before, start) and raw.endswith(after):
            return raw.find(b'"', start + len(before)) == len(raw) - len(after)
        head = _SPOKEN_HEAD.match(raw, start)
        end = raw.find(b'"', head.end()) if head is not None else -1
        tail = _SPOKEN_TAIL.fullmatch(raw, end) if end >= 0 else None
        if head is None or tail is None:
            return False
        self._before, self._after = head[0], tail[0]
        return True


def payload_of(data: bytes) -> Payload | None:
    """``data`` where it is base64 of RFC 4648 section 4; the padding may be missing."""
    digits = data.rstrip(b"=")
    padding = len(data) - len(digits)
    if padding > _PADDING_MAX or (padding and len(data) % 4) or len(digits) % 4 == 1:
        return None
    if digits.translate(None, _ALPHABET):
        return None
    return Payload(data, len(digits) * 3 // 4)


def decoded(payload: Payload) -> bytes:
    """The bytes that it stands for."""
    return decode_base64(payload.data.decode("ascii"))
