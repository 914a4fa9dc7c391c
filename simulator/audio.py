"""Audio for the simulator: byte rates, a voice detector, a resampler, a chime. Pure."""

import array
import math
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import Any, Final

PCM_RATE_HZ: Final = 24_000
WINDOW_MS: Final = 20
# A 16-bit sample above this counts as voice; the noise of a silent microphone stays far below.
VOICE_LEVEL: Final = 800
BYTES_PER_S: Final = {"audio/pcm": 48_000, "audio/pcmu": 8_000, "audio/pcma": 8_000}
_CHIME_HZ: Final = (660.0, 880.0)


def milliseconds(size: int, audio_format: str) -> int:
    """How long ``size`` bytes of audio last."""
    return size * 1000 // BYTES_PER_S[audio_format]


def is_voice(window: bytes, audio_format: str) -> bool:
    """Whether a window of audio holds a voice.

    The samples of companded audio (G.711) are not decoded: many different bytes count as voice.
    """
    if audio_format != "audio/pcm":
        return len(set(window)) > 8
    samples = array.array("h", window[: len(window) // 2 * 2])
    return bool(samples) and max(map(abs, samples[::4])) > VOICE_LEVEL


@lru_cache(maxsize=16)
def chime(duration_ms: int, audio_format: str) -> bytes:
    """Two tones, one after the other: the audio of a reply when the user has not spoken."""
    size = BYTES_PER_S[audio_format] * duration_ms // 1000
    if audio_format != "audio/pcm":
        return bytes((n * 37) % 256 for n in range(size))
    count = size // 2
    return array.array(
        "h",
        (
            int(6_000 * math.sin(2 * math.pi * _CHIME_HZ[2 * n // max(count, 1)] * n / PCM_RATE_HZ))
            for n in range(count)
        ),
    ).tobytes()


class Resampler:
    """16-bit PCM of one rate to another, piece by piece, by repeating and leaving out samples."""

    def __init__(self, rate_hz: int, *, to_hz: int = PCM_RATE_HZ) -> None:
        self._rate_hz = rate_hz
        self._to_hz = to_hz
        self._half = b""  # the first byte of a sample whose second byte is in the next piece
        self._taken = 0
        self._made = 0

    def feed(self, data: bytes) -> bytes:
        """Resample the next piece of audio."""
        data = self._half + data
        whole = len(data) // 2 * 2
        self._half = data[whole:]
        samples = array.array("h", data[:whole])
        before, self._taken = self._taken, self._taken + len(samples)
        first, self._made = self._made, -(-self._taken * self._to_hz // self._rate_hz)
        return array.array(
            "h",
            (samples[n * self._rate_hz // self._to_hz - before] for n in range(first, self._made)),
        ).tobytes()


class Heard(Enum):
    """Events of the voice detector."""

    SPEECH_STARTED = auto()
    SPEECH_STOPPED = auto()


@dataclass(frozen=True, slots=True)
class VoiceSettings:
    """The session's settings of voice activity detection on the server."""

    prefix_ms: int = 300
    silence_ms: int = 500
    creates_response: bool = True
    interrupts_response: bool = True

    @classmethod
    def of(cls, turn_detection: Any) -> "VoiceSettings | None":
        """The settings in ``session.audio.input.turn_detection``; None: the client commits."""
        if not isinstance(turn_detection, dict):
            return None
        return cls(
            prefix_ms=int(turn_detection.get("prefix_padding_ms", 300)),
            silence_ms=int(turn_detection.get("silence_duration_ms", 500)),
            creates_response=bool(turn_detection.get("create_response", True)),
            interrupts_response=bool(turn_detection.get("interrupt_response", True)),
        )


class AudioBuffer:
    """The input audio buffer: the audio since the last commit, and whether somebody speaks in it.

    Times are positions in the audio, not of the clock, so that the detector finds the same speech
    in audio that is sent faster than real time.
    """

    def __init__(self) -> None:
        self._window = bytearray()
        self._quiet_ms = 0
        self._dropped_ms = 0
        self.audio = bytearray()
        self.is_speaking = False

    def append(self, data: bytes, voice: VoiceSettings | None, audio_format: str) -> list[Heard]:
        """Append audio and return the events that the detector found in it.

        None without ``voice`` settings. Audio after the first ``SPEECH_STOPPED`` stays in the
        detector's window, so that the caller can commit first.
        """
        if voice is None:
            self.audio += data
            return []
        heard: list[Heard] = []
        self._window += data
        size = BYTES_PER_S[audio_format] * WINDOW_MS // 1000
        while len(self._window) >= size:
            window, self._window = bytes(self._window[:size]), self._window[size:]
            self.audio += window
            noticed = self._notice(is_voice(window, audio_format), voice)
            if noticed is not None:
                heard.append(noticed)
            if noticed is Heard.SPEECH_STOPPED:
                break
            if not self.is_speaking:
                self._keep_prefix(voice.prefix_ms, audio_format)
        return heard

    def position_ms(self, audio_format: str) -> int:
        """The position of the buffer's end in all of the session's audio."""
        return self._dropped_ms + milliseconds(len(self.audio), audio_format)

    def take(self, audio_format: str) -> bytes:
        """Commit: return all audio in the buffer and empty it."""
        taken = bytes(self.audio)
        self._dropped_ms += milliseconds(len(taken), audio_format)
        self.audio.clear()
        self.is_speaking, self._quiet_ms = False, 0
        return taken

    def clear(self, audio_format: str) -> None:
        """Clear the buffer without a commit."""
        self.take(audio_format)
        self._window.clear()

    def _notice(self, has_voice: bool, voice: VoiceSettings) -> Heard | None:
        if has_voice:
            self._quiet_ms = 0
            if not self.is_speaking:
                self.is_speaking = True
                return Heard.SPEECH_STARTED
        elif self.is_speaking:
            self._quiet_ms += WINDOW_MS
            if self._quiet_ms >= voice.silence_ms:
                self.is_speaking = False
                return Heard.SPEECH_STOPPED
        return None

    def _keep_prefix(self, prefix_ms: int, audio_format: str) -> None:
        excess = len(self.audio) - BYTES_PER_S[audio_format] * prefix_ms // 1000
        if excess > 0:
            self._dropped_ms += milliseconds(excess, audio_format)
            del self.audio[:excess]
