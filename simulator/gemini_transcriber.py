"""A Gemini model that only transcribes: it sends words, makes no turn and reports no usage.

The provider bills the audio that was transcribed; the usage log has its length.
"""

from typing import Final

from simulator import charges
from simulator import gemini_frames as frames
from simulator.audio import milliseconds
from simulator.session_effects import Outside

WORD_MS: Final = 400
_NAME: Final = "transcribe"  # part of the names of such models
_PCM: Final = "audio/pcm"


def only_transcribes(model: str) -> bool:
    """Whether the model of a setup makes no turns."""
    return _NAME in model


class GeminiTranscriber:
    """Transcribes the audio of one session."""

    def __init__(self, model: str, outside: Outside) -> None:
        self._model = model
        self._outside = outside
        self._heard_bytes = 0
        self._words = 0

    async def listen(self, pcm: bytes) -> None:
        """Transcribe a piece of audio at 24 kHz."""
        self._heard_bytes += len(pcm)
        while self._words < milliseconds(self._heard_bytes, _PCM) // WORD_MS:
            self._words += 1
            await self._outside.send(frames.content(inputTranscription={"text": "word "}))

    def close(self) -> None:
        """Log the audio that was transcribed; no message on the wire reports it."""
        if self._words:
            heard_ms = milliseconds(self._heard_bytes, _PCM)
            self._outside.log_usage(
                {
                    "kind": "estimated_transcription", "response_id": "", "model": self._model,
                    "status": "closed", "usage": None, "charge": charges.for_words(heard_ms),
                }
            )  # fmt: skip
