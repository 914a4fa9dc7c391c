"""Keeps a client's questions back until its session has the floor (``credit.floor``).

``ClientSide`` puts it before the sink of the client's frames, in an account that is crowded, and
takes it away when the session may ask: nothing of this runs in any other session. What only
configures a session passes, so that everybody may get ready meanwhile; so does the first message
that an ephemeral key brought.
"""

from collections.abc import Callable, Sequence
from typing import Final

from gateway.connections.connection import Connection
from gateway.connections.receive_queue import Pause
from gateway.connections.sink import SequenceSink, Sink
from gateway.frames import Frame
from gateway.metering.parsing import read_object, unmasked, without_repetition

# To parse longer ones would take too long; they wait as if they asked.
_CONFIGURATION_BYTES_MAX: Final = 256 * 1024
_CONFIGURING: Final = ("session.update", "transcription_session.update")


class FloorSink(SequenceSink):
    """Lets configurations through to ``sink``. From the first other frame on the client waits, and
    ``on_asked`` is called.
    """

    __slots__ = ("_client", "_on_asked", "connection_closed", "sink")

    def __init__(self, sink: Sink, client: Connection, on_asked: Callable[[], None]) -> None:
        self.sink = sink
        self._client = client
        self._on_asked = on_asked
        self.connection_closed = sink.connection_closed

    def frames_received(self, frames: Sequence[Frame]) -> None:
        """Pass on what comes before the first question; keep back the rest."""
        passed = 0
        while passed < len(frames) and configures(frames[passed]):
            passed += 1
        if passed < len(frames):
            # First: the sink may give back some of its own, which are to come before these.
            self._client.hold_back(Pause.FLOOR, frames[passed:])
            self._on_asked()
        if passed:
            self.sink.frames_received(frames[:passed])

    def resume(self) -> None:
        """The client may use the handle that it named: see ``client_side.Gated``."""
        resume: Callable[[], None] | None = getattr(self.sink, "resume", None)
        assert resume is not None
        resume()


def configures(frame: Frame) -> bool:
    """Whether a client's frame is a message that asks for no answer, whatever it holds."""
    if not frame.is_final or frame.continues or len(frame.raw) > _CONFIGURATION_BYTES_MAX:
        return False
    try:
        message = read_object(unmasked(frame), pairs_hook=without_repetition)
    except ValueError:
        return False
    if message is None:
        return False
    return message.get("type") in _CONFIGURING or message.keys() == {"setup"}
