"""The meters of a call (WebRTC, SIP) of the OpenAI family. Pure.

A call's audio goes from the caller to the provider and back, and never passes here. All that is
heard of it are its events, on *sidebands*: sockets with ``?call_id=``, any number of them, which
all hear the same. So a call has one meter, on a sideband of our own, and those of clients have
meters that charge nothing.
"""

from collections.abc import Sequence

from gateway.frames import Frame
from gateway.metering import NOTHING, Found
from gateway.providers.openai_meter import OpenAIMeter


class CallMeter(OpenAIMeter):
    """The meter of a call. What is never reported is estimated by time."""

    __slots__ = ()

    def passed(self, seconds: float) -> None:
        """So much time passed: so long the caller was heard, and what is being said was said."""
        audio = self._transcripts.audio
        size = int(seconds * audio.bytes_per_s)
        self._audio_bytes_in += size
        if self._transcripts.is_on:
            audio.add(size)
        if self._in_flight:
            self._audio_bytes_out += size


class ObserverMeter(OpenAIMeter):
    """Knows what is being said in a call, and charges none of it.

    A client that leaves its sideband ends nothing: the call goes on.
    """

    __slots__ = ()

    @property
    def in_flight(self) -> frozenset[str]:
        """See ``Meter``: nothing that is charged here."""
        return frozenset()

    @property
    def drain_s(self) -> float:
        """See ``Meter``: nothing."""
        return 0.0

    def observe(self, frame: Frame) -> Sequence[Found]:
        """See ``Meter``."""
        super().observe(frame)
        return NOTHING

    def observe_client(self, frame: Frame) -> None:
        """See ``Meter``."""

    def cancel_events(self) -> list[bytes]:
        """See ``Meter``: nothing."""
        return []

    def give_up(self) -> list[Found]:
        """See ``Meter``: nothing."""
        return []
