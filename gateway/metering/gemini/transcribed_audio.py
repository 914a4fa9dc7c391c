"""Estimates for Gemini models that only transcribe: the audio that they turned into words. Pure.

Such a session has no turns and reports no usage, but is billed by its audio. So usage is estimated
by the length of the audio as soon as a word was delivered: one row for every minute, and one for
the rest at the end. A row holds the tokens of its audio as well as its milliseconds, and the rate
card says which of them has a price (25 tokens a second, ai.google.dev).
"""

from collections.abc import Sequence
from typing import Final

from gateway.metering.base import Metered
from gateway.metering.parsing import rows_of
from shared.usage import Kind, Usage

ROW_MS: Final = 60_000
_TOKENS_PER_S: Final = 25
_ENVELOPE_BYTES: Final = 80  # names and quotes around the audio of a message


class TranscribedAudio:
    """The audio of one session. ``is_on``: its model only transcribes, so there are estimates."""

    __slots__ = ("_has_delivered", "_ms", "_rows", "is_on")

    def __init__(self) -> None:
        self.is_on = False
        self._ms = 0.0
        self._has_delivered = False
        self._rows = 0

    @property
    def is_due(self) -> bool:
        """Whether there is a minute of audio to charge."""
        return self._has_delivered and self._ms >= ROW_MS and self.is_on

    def listen(self, message_bytes: int, *, rate_hz: int) -> None:
        """Count the audio of a client's message: PCM16 in base64, 4 characters for 3 bytes."""
        if message_bytes > _ENVELOPE_BYTES:
            self._ms += (message_bytes - _ENVELOPE_BYTES) * 375 / rate_hz

    def delivered(self) -> None:
        """Words of the audio arrived: all audio of the session is charged from now on."""
        self._has_delivered = True

    def take(self, model: str) -> Sequence[Metered]:
        """Rows for the audio since the last call."""
        if not (self.is_on and self._has_delivered):
            return ()
        ms, self._ms = int(self._ms), 0.0
        return [self._row(model, row_ms) for row_ms in rows_of(ms)]

    # --- helpers ----------------------------------------------------------------------------------

    def _row(self, model: str, ms: int) -> Metered:
        self._rows += 1
        tokens = ms * _TOKENS_PER_S // 1000
        usage = Usage(
            input_tokens=tokens, total_tokens=tokens, input_audio_tokens=tokens, billed_ms=ms
        )
        kind = Kind.ESTIMATED_TRANSCRIPTION
        return Metered(f"minute {self._rows}", model, usage, kind=kind, is_local=True)
