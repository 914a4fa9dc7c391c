"""The meter of a call (WebRTC, SIP) of the OpenAI family. Pure.

A call's audio goes from the caller to the provider and back, and never passes here. All that is
heard of it are its events, on *sidebands*: sockets with ``?call_id=``, any number of them, which
all hear the same. So a call has one meter, on a sideband of our own, and those of clients observe.
"""

from collections.abc import Collection

from gateway.metering.base import MeterResult
from gateway.metering.openai.meter import OpenAIMeter


class CallMeter(OpenAIMeter):
    """The meter of a call. What is never reported is estimated by time."""

    __slots__ = ()

    def estimate_responses(self, names: Collection[str]) -> list[MeterResult]:
        """See ``CallMeter``."""
        return self._estimate_responses(names)

    def passed(self, seconds: float) -> None:
        """Count ``seconds`` as audio of the caller and, while a response is in flight, of it. The
        audio of a call does not pass here, so its length is taken to be the time.
        """
        audio = self._transcripts.audio
        size = int(seconds * audio.bytes_per_s)
        self._audio_bytes_in += size
        if self._transcripts.is_on:
            audio.add(size)
        if self._in_flight:
            self._audio_bytes_out += size
