"""One session of the simulated translations endpoint: it translates the audio that it gets.

Audio is processed in frames of 200 ms. No event reports a usage; the provider bills the audio that
was received, and the usage log has its length.
"""

import base64
import binascii
from typing import Any, Final

from simulator import charges
from simulator.client_events import ClientError, decode, event_id
from simulator.openai_events import SESSION_S, Event, event
from simulator.session_effects import Outside

FRAME_BYTES: Final = 24_000 * 2 // 5  # 200 ms of PCM16 at 24 kHz
BYTES_PER_MS: Final = 48
NORMAL: Final = 1000
_APPEND: Final = "session.input_audio_buffer.append"


class TranslationSession:
    """The state of one connection."""

    def __init__(self, *, model: str, outside: Outside, session_id: str, expires_at: int) -> None:
        self._outside = outside
        self._session: Event = {
            "id": session_id, "type": "translation", "model": model, "expires_at": expires_at,
            "audio": {
                "input": {"transcription": None, "noise_reduction": None},
                "output": {"language": "en"},
            },
        }  # fmt: skip
        self._pending = bytearray()
        self._heard_bytes = 0

    async def open(self) -> None:
        """Send session.created."""
        await self._outside.send(event("session.created", session=self._session))

    async def receive(self, data: str | bytes) -> None:
        """Serve one message of the client; its mistakes are answered."""
        name = None
        try:
            message = decode(data)
            name = event_id(message)
            await self._handle(message)
        except ClientError as exc:
            details = {
                "type": "invalid_request_error", "code": exc.code, "message": str(exc),
                "param": exc.param, "event_id": name,
            }  # fmt: skip
            await self._outside.send(event("error", error=details))

    async def expire(self) -> tuple[int, str]:
        """End the session, which has lasted too long; returns the close code and reason."""
        return NORMAL, "expired"

    async def close(self) -> None:
        """Log the audio that was translated; no message on the wire reports it."""
        heard_ms = self._heard_bytes // BYTES_PER_MS
        if heard_ms:
            self._outside.log_usage(
                {
                    "kind": "translation", "response_id": "", "status": "closed", "usage": None,
                    "charge": charges.charge(0, 0, billed_ms=heard_ms),
                }
            )  # fmt: skip

    # --- helpers ----------------------------------------------------------------------------------

    async def _handle(self, message: Event) -> None:
        match message.get("type"):
            case "session.update":
                self._update(message.get("session"))
                await self._outside.send(event("session.updated", session=self._session))
            case kind if kind == _APPEND:
                await self._listen(message.get("audio"))
            case "session.close":
                await self._translate(bytes(self._pending))
                self._pending.clear()
                await self._outside.send(event("session.closed"))
                await self._outside.hang_up(NORMAL, "close_requested")
            case kind:
                raise ClientError("invalid_value", f"Invalid value: '{str(kind)[:80]}'.", "type")

    def _update(self, wanted: Any) -> None:
        audio = wanted.get("audio") if isinstance(wanted, dict) else None
        if not isinstance(audio, dict):
            return
        for side in ("input", "output"):
            if isinstance(audio.get(side), dict):
                self._session["audio"][side].update(audio[side])

    async def _listen(self, audio: Any) -> None:
        try:
            heard = base64.b64decode(audio, validate=True)
        except (TypeError, binascii.Error, ValueError):
            raise ClientError("invalid_value", "Expected base64 audio.", "audio") from None
        self._heard_bytes += len(heard)
        self._pending += heard
        while len(self._pending) >= FRAME_BYTES:
            frame = bytes(self._pending[:FRAME_BYTES])
            del self._pending[:FRAME_BYTES]
            await self._translate(frame)

    async def _translate(self, frame: bytes) -> None:
        if not frame:
            return
        elapsed_ms = (self._heard_bytes - len(self._pending)) // BYTES_PER_MS
        if self._session["audio"]["input"]["transcription"] is not None:
            heard = event("session.input_transcript.delta", delta="mot ", elapsed_ms=elapsed_ms)
            await self._outside.send(heard)
        said = event("session.output_transcript.delta", delta="word ", elapsed_ms=elapsed_ms)
        await self._outside.send(said)
        await self._outside.send(
            event(
                "session.output_audio.delta", delta=base64.b64encode(frame).decode(),
                elapsed_ms=elapsed_ms, sample_rate=24_000, channels=1, format="pcm16",
            )
        )  # fmt: skip


def expires_at(now: float) -> int:
    """When a session that begins ``now`` (Unix time) ends."""
    return int(now) + SESSION_S
