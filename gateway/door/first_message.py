"""Waits for the first message of a client whose provider depends on it.

A Gemini client names its model in its first message. Where that may lead to a provider of another
family, the client is upgraded before it is known who will serve it.
"""

import asyncio
from collections.abc import Sequence

from msgspec.structs import replace

from gateway.connections.close import CloseEvent
from gateway.connections.downstream import Downstream
from gateway.connections.receive_queue import Pause
from gateway.connections.sink import Discard, SequenceSink
from gateway.frames import Frame
from gateway.limits import FIRST_MESSAGE_S, MESSAGE_BYTES_MAX, PRE_OPEN_BYTES_MAX
from gateway.metering.base import Fragments
from gateway.metering.parsing import unmasked


class FirstMessage(SequenceSink):
    """Keeps a client's frames up to the end of its first message; then the client is paused."""

    def __init__(self, client: Downstream) -> None:
        self._client = client
        self._fragments = Fragments()
        self._message: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self.frames: list[Frame] = []
        self._bytes = 0

    async def read(self) -> bytes | None:
        """The message; None when the client left, said nothing for ``FIRST_MESSAGE_S``, said more
        than ``PRE_OPEN_BYTES_MAX``, or is not waited for any more. What comes then goes to the
        sink that is set next.
        """
        self._client.sink = self
        self._client.partial_max = PRE_OPEN_BYTES_MAX
        self._client.start_reading()
        try:
            async with asyncio.timeout(FIRST_MESSAGE_S):
                return await self._message
        except TimeoutError:
            return None
        finally:
            self._client.sink = Discard()
            self._client.partial_max = MESSAGE_BYTES_MAX

    def give_up(self) -> None:
        """The gateway stops: wait no longer."""
        if not self._message.done():
            self._message.set_result(None)

    def frames_received(self, frames: Sequence[Frame]) -> None:
        """See ``Sink``."""
        self.frames += frames
        self._bytes += sum(len(frame.raw) for frame in frames)
        if self._bytes > PRE_OPEN_BYTES_MAX and not self._message.done():
            self._client.pause(Pause.PRE_OPEN)
            self.give_up()
        for frame in frames:
            message = self._fragments.add(replace(frame, start=0, raw=unmasked(frame)))
            if message is not None and not self._message.done():
                self._message.set_result(message)
                self._client.pause(Pause.PRE_OPEN)

    def connection_closed(self, close: CloseEvent) -> None:  # noqa: ARG002 - the protocol's
        """See ``Sink``."""
        self.give_up()
