"""The meter of a translation session (``/v1/realtime/translations``). Pure.

A translation is billed by the seconds of audio that go in, and no event reports them: neither
``session.closed`` nor any delta carries a usage (the SDK's ``types/realtime`` translation events).
So the client's audio is measured: each minute of it is an estimate, and the rest is one at the end.
When the client is gone the session ends at once, because the provider has no usage to report.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.frames import Frame, Span
from gateway.metering.base import NO_RESULTS, Metered, MeterResult
from gateway.metering.openai.audio import ClientAudio
from gateway.metering.openai.meter import OpenAIMeter
from gateway.metering.parsing import rows_of
from shared.usage import Kind, Usage

# A gateway that is killed loses at most this much audio that was not metered yet.
ROW_MS: Final = 60_000


class TranslationMeter(OpenAIMeter):
    """The meter of one session."""

    def __init__(self, *, model: str) -> None:
        super().__init__(model=model)
        self._audio = ClientAudio()
        self._rows = 0

    @property
    def is_continuous(self) -> bool:
        """See ``Meter``."""
        return True

    @property
    def drain_s(self) -> float:
        """See ``Meter``: no time, as nothing will be reported."""
        return 0.0

    def observe_client(self, frame: Frame) -> Sequence[MeterResult]:
        """See ``Meter``."""
        self._audio.add(self._appended.size(frame))
        return self._take() if self._audio.ms >= ROW_MS else NO_RESULTS

    def skim_client(self, read: bytes, span: Span) -> bool:
        """See ``Meter``: any audio may complete a minute, which is charged."""
        del read, span
        return False

    def cancel_events(self) -> list[bytes]:
        """See ``Meter``: none, as nothing that is in flight is charged."""
        return []

    def finish(self) -> list[MeterResult]:
        """See ``Meter``."""
        return self._take()

    # --- helpers ----------------------------------------------------------------------------------

    def _read_event(self, event: Mapping[str, Any]) -> Sequence[MeterResult]:
        if event.get("type") in ("session.created", "session.updated"):
            self._read_session(event.get("session"))
            self._audio.bytes_per_s = self._transcripts.audio.bytes_per_s
        return NO_RESULTS

    def _take(self) -> list[MeterResult]:
        return [self._row(ms) for ms in rows_of(self._audio.take())]

    def _row(self, ms: int) -> Metered:
        self._rows += 1
        usage, kind = Usage(billed_ms=ms), Kind.ESTIMATED_DURATION
        return Metered(f"minute {self._rows}", self.model, usage, kind=kind, is_local=True)
