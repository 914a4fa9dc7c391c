"""How long the audio is that a client of the OpenAI family sends. Pure.

Only lengths matter. An append in its usual spelling (``{"type":"….append","audio":"…"}``) is
measured by its first bytes, which say where the audio begins. A message that begins with another
type is no audio, unless ``"audio"`` or an escape stands somewhere in it. All other messages are
rare, and are parsed: names may be spelled with escapes, stand in any order, and stand twice.
"""

import re
from typing import Final

from msgspec.structs import replace

from gateway.frames import Frame, Opcode, Span, unmask
from gateway.metering.base import Fragments
from gateway.metering.parsing import read_object, unmasked, without_repetition

_HEAD_BYTES: Final = 128  # how far into a message its type is looked for
# The end of several types: input_audio_buffer.append, session.input_audio_buffer.append
# (translations) and session.input_audio.append (GPT-Live).
_APPEND: Final = b'.append"'
_AUDIO: Final = b'"audio"'
_ESCAPE: Final = b"\\"
_QUOTE: Final = b'"'
_END_BYTES: Final = 2  # the quotation mark and the brace behind the audio
_OTHER: Final = re.compile(rb'\s*\{\s*"type"\s*:\s*"[\w.]*"')
# To parse longer messages could take a second. They count in full, as if all were audio.
_READ_BYTES_MAX: Final = 1024 * 1024
_TEXT: Final = int(Opcode.TEXT)

# Bytes of base64 for a second of audio, by the type of its format: 16 bits at 24 kHz, 8 at 8 kHz.
PCM_BYTES_PER_S: Final = 64_000
_G711_BYTES_PER_S: Final = 32_000 // 3
_G711: Final = ("audio/pcmu", "audio/pcma", "g711_ulaw", "g711_alaw")
_RATE_MIN: Final = 4_000  # samples a second: no speech is recorded at rates outside these
_RATE_MAX: Final = 192_000


class AppendedAudio:
    """Finds the audio in what one client sends."""

    __slots__ = ("_before", "_fragments", "_is_raw", "_prefix", "_thirds")

    def __init__(self) -> None:
        self._fragments = Fragments()
        # How the last append in its usual spelling began, up to its audio; the size of that.
        self._prefix = b"\0"  # no message begins so
        self._before = 0
        self._is_raw = False  # the message whose fragments are arriving is binary
        self._thirds = 0  # thirds of a byte of base64 that were not counted yet

    def skim(self, read: bytes, span: Span) -> int:
        """The audio in a message in one frame that begins as the last append did, in bytes of
        base64; -1 of any other message, which ``size`` looks at.
        """
        opcode, _, start, end = span
        if opcode != _TEXT:
            return -1
        head = unmask(read[start : min(start + _HEAD_BYTES, end)], read[start - 4 : start])
        if head.startswith(self._prefix) and _ESCAPE not in head:
            return max(0, end - start - self._before - _END_BYTES)
        return -1

    def size(self, frame: Frame) -> int:
        """The audio in ``frame``, in bytes of base64. A text message in fragments counts with its
        last one.
        """
        if frame.opcode == _TEXT and frame.is_final:
            known = self.skim(frame.raw, frame.span)
            if known >= 0:
                return known
            raw, start = frame.raw, frame.start
            head = unmask(raw[start : start + _HEAD_BYTES], raw[start - 4 : start])
            begin = _audio_in(head)
            if begin is None:
                return _size_in(unmasked(frame))
            if _APPEND in head[:begin]:  # else the next message that begins so may be no append
                self._prefix, self._before = head[:begin], begin
            return max(0, len(raw) - start - begin - _END_BYTES)
        if not frame.continues:
            self._is_raw = frame.opcode != _TEXT
        if self._is_raw:  # xAI: the audio itself
            size, self._thirds = divmod((len(frame.raw) - frame.start) * 4 + self._thirds, 3)
            return size
        message = self._fragments.add(replace(frame, start=0, raw=unmasked(frame)))
        if message is None:
            return 0
        begin = _audio_in(message[:_HEAD_BYTES])
        return _size_in(message) if begin is None else max(0, len(message) - begin - _END_BYTES)


class ClientAudio:
    """The audio of one client, since the last ``take``."""

    __slots__ = ("_bytes", "bytes_per_s")

    def __init__(self) -> None:
        self._bytes = 0
        self.bytes_per_s = PCM_BYTES_PER_S

    @property
    def ms(self) -> int:
        """Its length in milliseconds."""
        return self.length_ms(self._bytes)

    def length_ms(self, base64_bytes: int) -> int:
        """The length of so many bytes in the format in force."""
        return base64_bytes * 1000 // self.bytes_per_s

    def take(self) -> int:
        """Its length in milliseconds; it is zero afterwards."""
        ms, self._bytes = self.ms, 0
        return ms

    def add(self, base64_bytes: int) -> None:
        """Count so much audio."""
        self._bytes += base64_bytes

    def set_format(self, found: object) -> None:
        """The session's format of audio: an object with type and rate, or the beta's name."""
        if isinstance(found, dict):
            rate, pcm = found.get("rate"), PCM_BYTES_PER_S
            if isinstance(rate, int) and _RATE_MIN <= rate <= _RATE_MAX:
                pcm = rate * 8 // 3  # 16 bits, in base64 4 characters for 3 bytes
            self.bytes_per_s = _G711_BYTES_PER_S if found.get("type") in _G711 else pcm
        elif isinstance(found, str):
            self.bytes_per_s = _G711_BYTES_PER_S if found in _G711 else PCM_BYTES_PER_S


def _audio_in(head: bytes) -> int | None:
    """Where the audio begins in an append as SDKs write it; None where ``head`` is not the
    beginning of one.
    """
    if _APPEND not in head or _ESCAPE in head:
        return None
    name = head.find(_AUDIO)
    quote = head.find(_QUOTE, name + len(_AUDIO)) if name >= 0 else -1
    return quote + 1 if quote >= 0 else None


def _size_in(message: bytes) -> int:
    """The audio in any other message. One that cannot be parsed, or in which a name stands twice,
    counts in full: the provider might hear more in it than was found here.
    """
    if _OTHER.match(message) is not None and _AUDIO not in message and _ESCAPE not in message:
        return 0
    if len(message) > _READ_BYTES_MAX:
        return len(message)
    try:
        event = read_object(message, pairs_hook=without_repetition) or {}
    except ValueError:
        return len(message)
    kind, audio = event.get("type"), event.get("audio")
    is_append = isinstance(kind, str) and kind.endswith(".append")
    return len(audio) if is_append and isinstance(audio, str) else 0
