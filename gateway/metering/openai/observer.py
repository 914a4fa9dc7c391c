"""Meters that charge nothing: of sockets that hear what another connection is charged for. Pure.

They know what is being said, and which errors are not for a client. A client that leaves such a
socket ends nothing: what it heard goes on.
"""

from collections.abc import Sequence

from gateway.frames import Frame
from gateway.metering.base import NO_RESULTS, MeterResult
from gateway.metering.openai.live import LiveMeter
from gateway.metering.openai.meter import OpenAIMeter


class ObserverMeter(OpenAIMeter):
    """Of a client's sideband of a call."""

    __slots__ = ()

    @property
    def in_flight(self) -> frozenset[str]:
        """See ``Meter``: nothing that is charged here."""
        return frozenset()

    @property
    def drain_s(self) -> float:
        """See ``Meter``: nothing."""
        return 0.0

    def observe(self, frame: Frame) -> Sequence[MeterResult]:
        """See ``Meter``."""
        super().observe(frame)
        return NO_RESULTS

    def observe_client(self, frame: Frame) -> Sequence[MeterResult]:
        """See ``Meter``."""
        del frame  # the connection that is charged knows
        return NO_RESULTS

    def cancel_events(self) -> list[bytes]:
        """See ``Meter``: nothing."""
        return []

    def finish(self) -> list[MeterResult]:
        """See ``Meter``: nothing."""
        return []


class LiveObserverMeter(ObserverMeter, LiveMeter):
    """Of a socket that is attached to a session of GPT-Live."""

    __slots__ = ()
