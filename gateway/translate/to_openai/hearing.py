"""The user's audio on its way to the provider, and whether the model's is still being played. Pure.

The client's audio comes as fast as it is spoken, so its length is a clock. A provider makes an
answer two or three times as fast as it is played (measured at OpenAI). When the user begins to
speak after the answer is complete, but before it is played, the client has to be told that it was
interrupted: only then it drops what it has not played.
"""

from typing import Final

from gateway.translate.audio import (
    PCM_24K,
    Converter,
    Format,
    decode_base64,
    encode_base64,
    gemini_format,
)

BYTES_PER_MS: Final = 48  # of PCM at 24 kHz
# OpenAI refuses a commit of less (``input_audio_buffer_commit_empty``).
COMMIT_MS_MIN: Final = 100


class Hearing:
    """Audio of one session, converted to what the provider takes.

    ``buffered`` is how much of it the provider holds, as far as only this side's messages change
    that: in bytes, since the last ``cleared``.
    """

    __slots__ = ("_converter", "_format", "_heard", "_mime_type", "_played", "buffered")

    def __init__(self) -> None:
        self._format: Format | None = None
        self._mime_type: object = None  # the last one, which nearly always is the next one
        self._converter = Converter(PCM_24K, PCM_24K)
        self._heard = 0  # bytes since the beginning
        self._played = 0  # where in them the model's speech ends, if it is played at once
        self.buffered = 0

    def take(self, mime_type: object, base64: object) -> str:
        """The audio in base64, as PCM of 24 kHz; "" while less than a sample is complete.

        Raises ``ValueError`` with what was found and what was expected.
        """
        if mime_type != self._mime_type or self._mime_type is None:
            self._configure(mime_type)
        data = decode_base64(base64)
        if self._converter.is_verbatim and isinstance(base64, str) and _is_usual(base64):
            self._heard += len(data)
            self.buffered += len(data)
            return base64
        return self._count(self._converter.feed(data))

    def rest(self) -> str:
        """What waited to be converted, at the end of what is said."""
        return self._count(self._converter.flush())

    def silence(self, ms: int) -> str:
        """So much silence, in base64."""
        return self._count(bytes(ms * BYTES_PER_MS))

    def missing_ms(self) -> int:
        """How much silence makes what is buffered long enough to be committed."""
        return max(COMMIT_MS_MIN - self.buffered // BYTES_PER_MS, 0)

    def cleared(self) -> None:
        """The provider holds no audio now."""
        self.buffered = 0

    def reset(self) -> None:
        """Another connection of the provider, which has heard nothing."""
        self._format = self._mime_type = None
        self.buffered = 0
        self.stop_playing()

    def spoke(self, base64_bytes: int) -> None:
        """The client got audio of the model."""
        self._played = max(self._played, self._heard) + base64_bytes * 3 // 4

    @property
    def is_playing(self) -> bool:
        """Whether the client has audio that it cannot have played yet."""
        return self._played > self._heard

    def stop_playing(self) -> None:
        """The client drops what it has not played."""
        self._played = self._heard

    def _configure(self, mime_type: object) -> None:
        source = gemini_format(mime_type)
        if source != self._format:
            self._format, self._converter = source, Converter(source, PCM_24K)
        self._mime_type = mime_type

    def _count(self, pcm: bytes) -> str:
        self._heard += len(pcm)
        self.buffered += len(pcm)
        return encode_base64(pcm) if pcm else ""


def once(mime_type: object, base64: object) -> str:
    """A whole piece of audio, in base64, as PCM of 24 kHz. Raises as ``Hearing.take`` does."""
    converter = Converter(gemini_format(mime_type), PCM_24K)
    data = decode_base64(base64)
    return encode_base64(converter.feed(data) + converter.flush())


def _is_usual(base64: str) -> bool:
    """Whether what was decoded is spelled as OpenAI reads it: its alphabet, padded."""
    return len(base64) % 4 == 0 and "-" not in base64 and "_" not in base64
