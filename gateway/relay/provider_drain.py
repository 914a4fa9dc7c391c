"""What becomes of a provider's connection when its client is gone.

``Session`` makes a ``Drain`` then. Whatever the client had asked for is cancelled, and the
connection stays open to report what that cost: for as long as something may still come
(``Recorder.drain_s``), and at most ``LATE_ANSWER_S``. From ``DRAIN_S`` on the drain is *late*: it
is ended where there are too many (``LATE_DRAINS_MAX``), and when the gateway stops.
"""

from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

from gateway.connections.close import CloseEvent
from gateway.connections.receive_queue import Pause
from gateway.connections.upstream import Upstream
from gateway.limits import DEPARTURES_PER_S, DRAIN_S, LATE_ANSWER_S
from gateway.metering.usage_recorder import Recorder
from gateway.relay.sinks import MeterOnly


def departure_gap_s(sessions: int) -> float:
    """The time between two sessions that a gateway closes when it is to stop."""
    return min(1 / DEPARTURES_PER_S, DRAIN_S / max(sessions, 1))


class Drain:
    """Meters one provider to the end of what its client had asked for."""

    def __init__(
        self,
        provider: Upstream,
        recorder: Recorder,
        *,
        on_close: Callable[[CloseEvent], None],
        log: FilteringBoundLogger,
        now: float,
    ) -> None:
        """``on_close`` is called when the provider is gone."""
        self._provider = provider
        self._recorder = recorder
        self._on_close = on_close
        self._log = log
        self.since = now
        self.is_late = False
        self._is_hurried = False

    def begin(self, *, has_asked: bool) -> None:
        """Exchange the sink for one without the client, and cancel what is in flight.

        ``has_asked``: whether any message of the client was forwarded. If not, nothing can come.
        """
        provider = self._provider
        provider.sink = MeterOnly(
            self._recorder, on_begun=self._cancel, on_idle=provider.close, on_close=self._on_close
        )
        provider.feeder = None
        provider.resume(Pause.BACKPRESSURE)
        provider.end_message()
        if has_asked and self._recorder.drain_s:
            self._cancel()
        else:
            provider.close()

    def hurry(self) -> None:
        """The gateway stops: end after ``DRAIN_S``, not after ``LATE_ANSWER_S``."""
        self._is_hurried = True

    def check(self, now: float) -> None:
        """Called every second: end when nothing is to come any more, or not in time."""
        if not self._provider.is_open:
            return  # the drain is over; the close handshake has a deadline of its own
        age_s = now - self.since
        self.is_late = age_s > DRAIN_S
        if age_s > (DRAIN_S if self._is_hurried else LATE_ANSWER_S):
            in_flight = len(self._recorder.in_flight)
            self._log.warning("drain timed out", in_flight=in_flight, waited_for=self._waited_for)
            self._provider.abort()
        elif age_s > self._recorder.drain_s and self._recorder.drain_s < DRAIN_S:
            self._provider.close()

    @property
    def _waited_for(self) -> str:
        if self._recorder.streaming:
            return "the usage of a response"
        return "a transcript" if self._recorder.in_flight else "an answer to the cancel"

    def _cancel(self) -> None:
        for cancel in self._recorder.cancel_events():
            self._provider.send_event(cancel)
