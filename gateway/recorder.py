"""What one session has used: from the provider's frames to messages for accountd.

The recorder joins the pure meter and batcher of a session with the process's outbox. It knows
neither leg, so it goes on when the client is gone.
"""

import time
from collections.abc import Callable, Sequence

import structlog

from gateway.batching import Batcher, Party
from gateway.frames import Frame
from gateway.metering import Meter, Metered, Unreadable
from shared.wire import InvalidUsage, UsageBatch

log = structlog.get_logger()


class Recorder:
    """Meters a session's frames and sends its batches. ``send`` must not wait."""

    __slots__ = ("_batcher", "_meter", "_party", "_send", "responses", "tokens")

    def __init__(
        self, party: Party, meter: Meter, send: Callable[[UsageBatch | InvalidUsage], None]
    ) -> None:
        self._party = party
        self._meter = meter
        self._batcher = Batcher(party)
        self._send = send
        self.responses = 0
        self.tokens = 0

    @property
    def model(self) -> str:
        """The model that is billed now."""
        return self._meter.model

    @property
    def responses_in_flight(self) -> int:
        """Responses that began and whose usage has not arrived."""
        return self._meter.responses_in_flight

    def observe(self, frames: Sequence[Frame]) -> None:
        """Meter data frames of the provider. Call it before they are forwarded."""
        for frame in frames:
            found = self._meter.observe(frame)
            if found is not None:
                self._record(found)

    def send_due(self, now: float) -> None:
        """Send the open batch when it has waited long enough. ``now`` is monotonic seconds."""
        self._send_all(self._batcher.take_due(now))

    def flush(self) -> None:
        """Send what is there: the session ends or drains."""
        self._send_all(self._batcher.flush())

    def _record(self, found: Metered | Unreadable) -> None:
        wall_ms = time.time_ns() // 1_000_000
        if isinstance(found, Metered):
            self.responses += 1
            self.tokens += found.usage.total_tokens
            self._send_all(self._batcher.add(found, now=time.monotonic(), wall_ms=wall_ms))
            return
        log.warning(
            "usage unreadable",
            session=self._party.session_id,
            account=self._party.account_id,
            response=found.response_id,
            detail=found.detail,
        )
        self._send(
            InvalidUsage(
                account_id=self._party.account_id,
                session_id=self._party.session_id,
                provider=self._party.provider,
                model=found.model,
                response_id=found.response_id,
                detail=found.detail,
                raw=found.raw,
                metered_at_ms=wall_ms,
            )
        )

    def _send_all(self, batches: Sequence[UsageBatch]) -> None:
        for batch in batches:
            self._send(batch)
