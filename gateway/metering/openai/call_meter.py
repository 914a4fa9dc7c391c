"""The meter of a call (WebRTC, SIP) of the OpenAI family. Pure.

A call's audio goes from the caller to the provider and back, and never passes here. Only its events
do, on *sidebands*: sockets with ``?call_id=``, of which there may be any number, and which all get
the same events. So a call has one meter, on a sideband of our own, and clients' sidebands have
observers (``observer``).
"""

from collections.abc import Collection

from gateway.metering.base import MeterResult
from gateway.metering.openai.meter import OpenAIMeter


class OpenAICallMeter(OpenAIMeter):
    """The meter of a call. A response that is never reported is estimated by the time it took."""

    __slots__ = ()

    def estimate_responses(self, names: Collection[str]) -> list[MeterResult]:
        """See ``CallMeter``."""
        return self._estimate_responses(names)

    def passed(self, seconds: float) -> None:
        """See ``CallMeter``: audio does not pass here, so the time is taken for its length."""
        audio = self._transcripts.audio
        size = int(seconds * audio.bytes_per_s)
        self._audio_bytes_in += size
        if self._transcripts.is_on:
            audio.add(size)
        if self._in_flight:
            self._audio_bytes_out += size
