"""Audio between protocols: its formats, base64, and a stream's conversion. Pure.

What is sent towards Gemini keeps its rate, because Gemini takes any rate that the mime type names;
G.711, which it does not take, is decoded (``for_gemini``). Gemini itself speaks at 24 kHz, which is
OpenAI's rate, so for ``audio/pcm`` nothing is converted there either. What is left for the
resampler: a Gemini client's input, mostly 16 kHz, for OpenAI, and Gemini's output for a client that
wants G.711.

A format that is not understood is refused with what was found and what was expected. Silently wrong
audio would be the alternative.

Source: ``RealtimeAudioFormats`` of the OpenAI SDK; ``Blob`` of Google's; RFC 2586 for a rate in a
mime type.
"""

import binascii
import re
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

if TYPE_CHECKING:
    from types import ModuleType

    from gateway.translate.samples import Resampler, Samples


class Encoding(Enum):
    """What a sample is on the wire; the value is OpenAI's name of the format."""

    PCM16 = "audio/pcm"  # 16 bits, little-endian
    ULAW = "audio/pcmu"  # G.711, 8 bits
    ALAW = "audio/pcma"


class Format(Struct, frozen=True):
    """One channel of ``rate_hz`` samples a second."""

    encoding: Encoding
    rate_hz: int


# OpenAI's three, and what Gemini says at all times.
PCM_24K: Final = Format(Encoding.PCM16, 24_000)
ULAW_8K: Final = Format(Encoding.ULAW, 8_000)
ALAW_8K: Final = Format(Encoding.ALAW, 8_000)
GEMINI_OUTPUT: Final = PCM_24K
# What Gemini takes audio for whose mime type names no rate.
GEMINI_RATE_HZ: Final = 16_000
# What else is named is a mistake, and would cost the resampler memory.
RATE_HZ_MIN: Final = 4_000
RATE_HZ_MAX: Final = 192_000

_OPENAI: Final[Mapping[str, Format]] = {
    "audio/pcm": PCM_24K,
    "audio/pcmu": ULAW_8K,
    "audio/pcma": ALAW_8K,
}
_MIME: Final = re.compile(r"\s*audio/(?:pcm|l16)\s*((?:;[^;]*)*)", re.IGNORECASE)
_RATE: Final = re.compile(r"\s*rate\s*=\s*\"?(\d{1,9})\"?\s*", re.IGNORECASE)
_URL_SAFE: Final = str.maketrans("-_", "+/")


def openai_format(value: object) -> Format:
    """The format that a session's ``audio.*.format`` names; PCM at 24 kHz where it is absent.

    Raises ``ValueError`` with what was found and what was expected.
    """
    if value is None:
        return PCM_24K
    kind = value.get("type") if isinstance(value, dict) else value
    found = _OPENAI.get(kind) if isinstance(kind, str) else None
    rate = value.get("rate") if isinstance(value, dict) else None
    if found is None or rate not in (None, found.rate_hz):
        raise ValueError(
            f"audio format: found {_shown(value)}, expected audio/pcm with the rate 24000,"
            " audio/pcmu or audio/pcma"
        )
    return found


def openai_format_object(audio: Format) -> dict[str, Any]:
    """``audio`` as a session's ``audio.*.format``."""
    if audio.encoding is Encoding.PCM16:
        return {"type": audio.encoding.value, "rate": audio.rate_hz}
    return {"type": audio.encoding.value}


def gemini_format(mime_type: object) -> Format:
    """The format of a ``Blob`` by its mime type, e.g. ``audio/pcm;rate=16000``.

    Raises ``ValueError`` with what was found and what was expected.
    """
    if not isinstance(mime_type, str):
        raise ValueError(f"mime type: found {_shown(mime_type)}, expected audio/pcm;rate=16000")
    return _format_named(mime_type)


@lru_cache(maxsize=64)  # the same one in every message
def _format_named(mime_type: str) -> Format:
    found = _MIME.fullmatch(mime_type)
    if found is None:
        raise ValueError(f"mime type: found {_shown(mime_type)}, expected audio/pcm;rate=16000")
    rates = [
        _RATE.fullmatch(part)
        for part in found[1].split(";")
        if part.strip().lower().startswith("rate")
    ]
    if not rates:
        return Format(Encoding.PCM16, GEMINI_RATE_HZ)
    rate_hz = int(rates[0][1]) if len(rates) == 1 and rates[0] else 0
    if not RATE_HZ_MIN <= rate_hz <= RATE_HZ_MAX:
        raise ValueError(
            f"mime type: found {_shown(mime_type)}, expected one rate from {RATE_HZ_MIN} to"
            f" {RATE_HZ_MAX}"
        )
    return Format(Encoding.PCM16, rate_hz)


def gemini_mime_type(audio: Format) -> str:
    """The mime type of PCM for Gemini."""
    assert audio.encoding is Encoding.PCM16
    return f"audio/pcm;rate={audio.rate_hz}"


def for_gemini(audio: Format) -> Format:
    """The format in which audio of this one is sent to Gemini: PCM of the same rate."""
    return Format(Encoding.PCM16, audio.rate_hz)


def decode_base64(text: object) -> bytes:
    """The bytes of base64, of either alphabet, padded or not.

    Raises ``ValueError`` with what was found and what was expected.
    """
    if not isinstance(text, str):
        raise ValueError(f"audio: found {_shown(text)}, expected base64")
    if "-" in text or "_" in text:
        text = text.translate(_URL_SAFE)
    if len(text) % 4:
        text += "=" * (-len(text) % 4)
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError as error:
        raise ValueError(f"audio: found {_shown(text)}, expected base64 ({error})") from None


def encode_base64(data: bytes) -> str:
    """Base64 as RFC 4648 section 4 writes it, padded."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def preload() -> None:
    """Load what a conversion needs: it takes some 0.1 s, in which no session is served."""
    from gateway.translate import samples  # noqa: F401, PLC0415


class Converter:
    """A stream of audio in one format becomes one in another.

    ``is_verbatim`` says that nothing is to be done: a translator then passes the base64 on as it
    is. Chunks may be cut anywhere, also within a sample.
    """

    __slots__ = ("_odd", "_resampler", "_samples", "_source", "_target", "is_verbatim")

    def __init__(self, source: Format, target: Format) -> None:
        self._source = source
        self._target = target
        self._odd = b""
        self.is_verbatim = source == target
        self._samples: ModuleType | None = None
        self._resampler: Resampler | None = None
        if not self.is_verbatim:
            # It loads numpy, of which a gateway has no need where nothing is converted.
            from gateway.translate import samples  # noqa: PLC0415

            self._samples = samples
            if source.rate_hz != target.rate_hz:
                self._resampler = samples.Resampler(source.rate_hz, target.rate_hz)

    def feed(self, data: bytes) -> bytes:
        """What ``data`` and what came before it become; 2.5 ms of resampled audio wait."""
        if self._samples is None:
            return data
        if self._source.encoding is Encoding.PCM16:
            data = self._odd + data
            whole = len(data) & ~1
            data, self._odd = data[:whole], data[whole:]
        found: Samples = self._samples.decoded(data, self._source.encoding.name)
        if self._resampler is not None:
            found = self._resampler.feed(found)
        made: bytes = self._samples.encoded(found, self._target.encoding.name)
        return made

    def flush(self) -> bytes:
        """What waited, at the end of what is said; half a sample is dropped. What follows is heard
        as after silence.
        """
        self._odd = b""
        if self._samples is None or self._resampler is None:
            return b""
        made: bytes = self._samples.encoded(self._resampler.flush(), self._target.encoding.name)
        return made


def _shown(value: object) -> str:
    return repr(value)[:64]
