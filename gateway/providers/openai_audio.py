"""How long the audio is that a client of the OpenAI family sends. Pure.

Only lengths are looked at: nothing is decoded. What is no audio (a prompt, an image) is told by the
first bytes of its message, and so are the later fragments of one.
"""

from typing import Final

from websockets.utils import apply_mask

from gateway.frames import Frame, Opcode
from shared.wire import TOKENS_PER_RESPONSE_MAX

# Shorter messages hold no audio worth counting (20 ms of G.711 are 214 characters), and of longer
# ones so much is not audio: names, quotes, an event id.
_MESSAGE_BYTES_MIN: Final = 200
_ENVELOPE_BYTES: Final = 60
_HEAD_BYTES: Final = 128  # how far into a message its type is looked for
_APPEND: Final = b"input_audio_buffer.append"
_TYPE: Final = b'"type"'
_TEXT: Final = int(Opcode.TEXT)

# Bytes of base64 for a second of audio, by the type of its format: 16 bits at 24 kHz, 8 at 8 kHz.
PCM_BYTES_PER_S: Final = 64_000
_G711_BYTES_PER_S: Final = 32_000 // 3
_G711: Final = ("audio/pcmu", "audio/pcma", "g711_ulaw", "g711_alaw")
_RATE_MIN: Final = 4_000  # samples a second: below and above no audio that speaks
_RATE_MAX: Final = 192_000


class ClientAudio:
    """The audio of one client, since the last ``take``."""

    __slots__ = ("_bytes", "_thirds", "bytes_per_s")

    def __init__(self) -> None:
        self._bytes = 0
        self._thirds = 0  # what a byte of the message counts, in thirds of a byte of base64
        self.bytes_per_s = PCM_BYTES_PER_S

    @property
    def ms(self) -> int:
        """Its length in milliseconds, at most what a row may hold."""
        return self.length_ms(self._bytes)

    def length_ms(self, base64_bytes: int) -> int:
        """The length of so many bytes in the format in force."""
        return min(base64_bytes * 1000 // self.bytes_per_s, TOKENS_PER_RESPONSE_MAX)

    def take(self) -> int:
        """``ms``, and begin again."""
        ms, self._bytes = self.ms, 0
        return ms

    def add(self, base64_bytes: int) -> None:
        """Count audio that was heard elsewhere."""
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

    def listen(self, frame: Frame) -> None:
        """Count the audio in a frame of the client's."""
        size = len(frame.raw) - frame.start
        if not frame.continues:
            self._thirds = self._weight(frame)
            size -= _ENVELOPE_BYTES if frame.opcode == _TEXT else 0
        if self._thirds and size > 0:
            self._bytes += size * self._thirds // 3

    def _weight(self, frame: Frame) -> int:
        """Binary audio (xAI) is raw; text is an append, or nothing to count."""
        if frame.opcode != _TEXT:
            return 4
        if frame.is_final and len(frame.raw) < _MESSAGE_BYTES_MIN:
            return 0
        start = frame.start
        head = apply_mask(frame.raw[start : start + _HEAD_BYTES], frame.raw[start - 4 : start])
        return 0 if _TYPE in head and _APPEND not in head else 3
