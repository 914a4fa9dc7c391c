"""Meters that charge nothing, for sockets that hear what another connection is charged for. Pure.

They know which responses are being streamed, and which errors a client must not see. When a client
leaves such a socket nothing is cancelled: its responses belong to the connection that is charged.
"""

from collections.abc import Sequence

from gateway.frames import Frame, Span
from gateway.metering.base import NO_RESULTS, MeterResult
from gateway.metering.openai.gpt_live import LiveMeter
from gateway.metering.openai.meter import OpenAIMeter


class ObserverMeter(OpenAIMeter):
    """The observer of a client's sideband of a call."""

    __slots__ = ()

    @property
    def in_flight(self) -> frozenset[str]:
        """See ``Meter``: nothing, as nothing is charged here."""
        return frozenset()

    @property
    def drain_s(self) -> float:
        """See ``Meter``: no time."""
        return 0.0

    def observe(self, frame: Frame) -> Sequence[MeterResult]:
        """See ``Meter``."""
        super().observe(frame)
        return NO_RESULTS

    def observe_client(self, frame: Frame) -> Sequence[MeterResult]:
        """See ``Meter``."""
        del frame  # the connection that is charged meters it
        return NO_RESULTS

    def skim_client(self, read: bytes, span: Span) -> bool:
        """See ``Meter``: none is looked at."""
        del read, span
        return True

    def cancel_events(self) -> list[bytes]:
        """See ``Meter``: nothing."""
        return []

    def finish(self) -> list[MeterResult]:
        """See ``Meter``: nothing."""
        return []


class LiveObserverMeter(ObserverMeter, LiveMeter):
    """The observer of a socket that is attached to a session of GPT-Live."""

    __slots__ = ()
