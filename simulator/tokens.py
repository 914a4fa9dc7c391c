"""Counts the tokens of a response by OpenAI's own arithmetic. Pure.

User audio is one token per 100 ms, assistant audio one per 50 ms (realtime-costs guide); text is
taken as one token per four characters. The input of a response is the whole conversation so far.
"""

from dataclasses import dataclass
from typing import Any, Final

INSTRUCTION_TOKENS: Final = 12
CACHE_BLOCK: Final = 64  # tokens; the provider caches whole blocks
BY_DURATION: Final = ("whisper", "live-transcribe")  # in the names of transcribers billed by time


def text_tokens(text: str) -> int:
    """Tokens of a text."""
    return -(-len(text) // 4)


def user_audio_tokens(duration_ms: int) -> int:
    """Tokens of audio that the user spoke."""
    return -(-duration_ms // 100)


def assistant_audio_tokens(duration_ms: int) -> int:
    """Tokens of audio that the model spoke."""
    return -(-duration_ms // 50)


def gemini_audio_tokens(duration_ms: int) -> int:
    """Gemini's tokens of audio, of the user or the model: 25 a second."""
    return -(-duration_ms // 40)


@dataclass(frozen=True, slots=True)
class Tokens:
    """Text, audio and image tokens of an item or of a response's output."""

    text: int = 0
    audio: int = 0
    image: int = 0

    def __add__(self, other: "Tokens") -> "Tokens":
        """The sum of each kind."""
        return Tokens(self.text + other.text, self.audio + other.audio, self.image + other.image)

    @property
    def total(self) -> int:
        """All kinds together."""
        return self.text + self.audio + self.image


def usage(history: Tokens, output: Tokens, *, cached_before: int) -> dict[str, Any]:
    """The ``usage`` object of a response. ``cached_before``: input tokens of the previous one."""
    into = history + Tokens(text=INSTRUCTION_TOKENS)
    cached = min(cached_before, into.total) // CACHE_BLOCK * CACHE_BLOCK
    cached_audio = min(cached, into.audio)
    return {
        "total_tokens": into.total + output.total,
        "input_tokens": into.total,
        "output_tokens": output.total,
        "input_token_details": {
            "text_tokens": into.text,
            "audio_tokens": into.audio,
            "image_tokens": into.image,
            "cached_tokens": cached,
            "cached_tokens_details": {
                "text_tokens": cached - cached_audio,
                "audio_tokens": cached_audio,
                "image_tokens": 0,
            },
        },
        "output_token_details": {"text_tokens": output.text, "audio_tokens": output.audio},
    }


def transcription_usage(model: str, duration_ms: int, transcript: str) -> dict[str, Any]:
    """The ``usage`` of an input transcription: some models count seconds, the others tokens."""
    if any(name in model for name in BY_DURATION):
        return {"type": "duration", "seconds": max(1, round(duration_ms / 1000))}
    audio, out = user_audio_tokens(duration_ms), text_tokens(transcript)
    return {
        "type": "tokens",
        "total_tokens": audio + out,
        "input_tokens": audio,
        "input_token_details": {"text_tokens": 0, "audio_tokens": audio},
        "output_tokens": out,
    }
