"""One WebSocket connection after its opening handshake: whole frames in, bytes out.

A connection owns a transport. Data frames go to its ``sink`` as they came; control frames go to the
``websockets`` protocol object, which owns pings, closes and their states. Everything that a
connection writes is whole frames, so control frames always fall on a frame boundary.

Who gets a connection's frames is decided by its sink alone. When the other side is gone the sink is
exchanged for one that does not know it: nothing can reach a peer that nobody refers to.

While the sink is not to get anything a connection reads on, so that its peer's pings are answered:
data frames are *parked*, up to ``RECEIVE_QUEUE_BYTES_MAX``, and only past that TCP holds the rest
back. A close is parked behind them.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, cast

from websockets.client import ClientProtocol
from websockets.frames import Close
from websockets.frames import Frame as WebSocketFrame
from websockets.frames import Opcode as WebSocketOpcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from gateway.connections.parking import Parking
from gateway.frames import Frame, FrameScanner, Opcode, Violation
from gateway.limits import CLOSE_S, IDLE_S, PING_S, STALLED_S, WRITE_HIGH_WATER_BYTES
from shared.errors import cause_of

NO_STATUS: Final = 1005  # RFC 6455 section 7.4.1: never on the wire
ABNORMAL: Final = 1006
GOING_AWAY: Final = 1001
POLICY: Final = 1008  # no SDK dials again on it
FAILED: Final = 1011
TRY_AGAIN_LATER: Final = 1013
_PONG_FIRST_BYTE: Final = 0x80 | int(Opcode.PONG)


@dataclass(frozen=True, slots=True)
class CloseEvent:
    """How a connection ended: the peer's close code and reason, or 1006 and ours.

    ``is_violation`` says that the peer broke the protocol, and that the code is ours.
    """

    code: int
    reason: str
    is_violation: bool = False


class Sink(Protocol):
    """Who gets what a connection receives."""

    def frames_received(self, frames: Sequence[Frame]) -> None:
        """Data frames, whole and in order."""

    def connection_closed(self, close: CloseEvent) -> None:
        """Nothing more will come. Called once, after the last frame."""


class Discard:
    """The sink of a connection that nobody listens to any more."""

    __slots__ = ()

    def frames_received(self, frames: Sequence[Frame]) -> None:
        """Forget the frames."""

    def connection_closed(self, close: CloseEvent) -> None:
        """Nobody waits for the end."""


class Connection(asyncio.Protocol):
    """A connection to a client or to a provider. Subclasses do the opening handshake."""

    def __init__(
        self, protocol: ServerProtocol | ClientProtocol, *, expects_mask: bool, sink: Sink
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._protocol = protocol
        self._scanner = FrameScanner(expects_mask=expects_mask)
        self._transport: asyncio.Transport | None = None
        self._close_timer: asyncio.TimerHandle | None = None
        self._stalled_since: float | None = None
        self._held_pong = b""
        self._has_ended = False
        self._is_reading_paused = False
        self._is_held = False
        self._is_stopped = False  # nothing is read, whatever may be taken
        self._is_reading = True  # as the transport was told last
        self._parked = Parking()
        self._is_parking = self._is_releasing = False
        self._is_mid_message = False
        self._heard_at = self._pinged_at = self._loop.time()
        self.sink: Sink = sink
        # The connection whose frames are written here: it is paused while this one cannot keep up.
        self.feeder: Connection | None = None

    # --- for the session --------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether frames can be sent: no close was sent or received and the connection stands."""
        return self._protocol.state is State.OPEN and not self._has_ended

    @property
    def is_write_paused(self) -> bool:
        """Whether the peer does not take what is sent."""
        return self._stalled_since is not None

    def write(self, frames: Sequence[Frame]) -> None:
        """Forward data frames. Only sinks of an open peer call this."""
        if self._transport is None or not frames:
            return
        if len(frames) == 1:
            self._transport.write(frames[0].raw)
        else:
            self._transport.writelines([frame.raw for frame in frames])
        self._is_mid_message = not frames[-1].is_final

    def send_event(self, text: bytes) -> bool:
        """Send a message of our own, unless that would tear a fragmented one in two."""
        if not self.is_open or self._is_mid_message:
            return False
        self._protocol.send_text(text)
        self._flush()
        return True

    def end_message(self) -> None:
        """Finish a fragmented message whose sender is gone, so that events of ours can follow."""
        if self.is_open and self._is_mid_message:
            self._is_mid_message = False
            self._protocol.send_frame(WebSocketFrame(WebSocketOpcode.CONT, b""))
            self._flush()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Start the closing handshake; the connection is cut when the peer does not answer."""
        if not self.is_open:
            return
        if code == NO_STATUS:
            self._protocol.send_close()
        else:
            self._protocol.send_close(code, _fitting(reason))
        self._flush()
        self.resume_reading()  # the answer to the close must be heard
        self.let_go()

    def abort(self) -> None:
        """Cut the connection now."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def is_mid_message(self) -> bool:
        """Whether a fragmented message was forwarded in part: an event of ours has to wait."""
        return self._is_mid_message

    def pause_reading(self) -> None:
        """Give the sink nothing more, because the other connection cannot keep up."""
        if self._transport is not None and not self._transport.is_closing():
            self._is_reading_paused = self._is_parking = True

    def resume_reading(self) -> None:
        """The other connection has caught up."""
        self._is_reading_paused = False
        self._release()

    def hold(self) -> None:
        """Give the sink nothing more until ``let_go``, whatever the other connection can take."""
        if self._transport is not None and not self._transport.is_closing():
            self._is_held = self._is_parking = True

    def let_go(self) -> None:
        """The reason for ``hold`` is gone."""
        self._is_held = False
        self._release()

    def check(self, now: float) -> None:
        """Called every second: cut a stalled or silent peer, ping a quiet one."""
        if self._stalled_since is not None and now - self._stalled_since > STALLED_S:
            self._lose(f"took nothing for {STALLED_S:g} s")
        elif not self._is_reading:
            self._heard_at = now  # it is we who are not listening
        elif now - self._heard_at > IDLE_S:
            self._lose(f"silent for {IDLE_S:g} s")
        elif now - max(self._heard_at, self._pinged_at) > PING_S and self.is_open:
            self._pinged_at = now
            self._protocol.send_ping(b"")
            self._flush()

    # --- for the event loop -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_WATER_BYTES)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        self._heard_at = self._loop.time()
        self._receive_frames(data)

    def eof_received(self) -> bool:
        """Called by the event loop; a false answer closes the transport.

        The connection ends here, not in ``connection_lost``: in between, the other connection may
        receive frames, and this one can write no more.
        """
        self._settle()
        self._protocol.receive_eof()
        self._flush()
        self._end(CloseEvent(ABNORMAL, _loss_reason(None)))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop, once, whatever ended the connection."""
        self._settle()
        self._protocol.receive_eof()
        self._transport = None
        if self._close_timer is not None:
            self._close_timer.cancel()
        if self.feeder is not None:
            self.feeder.resume_reading()
        self._end(CloseEvent(ABNORMAL, _loss_reason(exc)))

    def pause_writing(self) -> None:
        """Called by the event loop when the peer does not keep up."""
        self._stalled_since = self._loop.time()
        if self.feeder is not None:
            self.feeder.pause_reading()

    def resume_writing(self) -> None:
        """Called by the event loop when the peer has caught up."""
        self._stalled_since = None
        if self._held_pong and self._transport is not None:
            self._transport.write(self._held_pong)
            self._held_pong = b""
        if self.feeder is not None:
            self.feeder.resume_reading()

    # --- helpers ----------------------------------------------------------------------------------

    @property
    def _is_taking(self) -> bool:
        return not (self._is_reading_paused or self._is_held)

    def _stop_or_go_on(self, *, is_stopped: bool) -> None:
        """Read nothing at all, or go on."""
        self._is_stopped = is_stopped
        self._read_or_not()

    def _read_or_not(self) -> None:
        """Tell the transport whether bytes are wanted, when that has changed."""
        if self._transport is None or self._transport.is_closing():
            return
        has_room = self._parked.has_room(self._scanner.pending_bytes)
        is_reading = not self._is_stopped and (self._is_taking or has_room)
        if is_reading and not self._is_reading:
            self._transport.resume_reading()
        elif self._is_reading and not is_reading:
            self._transport.pause_reading()
        self._is_reading = is_reading

    def _release(self) -> None:
        """Hand over what was parked, for as long as it is taken."""
        if self._is_releasing:
            return
        self._is_releasing = True
        try:
            while self._parked and self._is_taking:
                self._hand_over(self._parked.take())
        finally:
            self._is_releasing = False
        self._is_parking = bool(self._parked) or not self._is_taking
        self._read_or_not()

    def _settle(self) -> None:
        """The connection is over: what was parked came before that.

        Of a peer that is held nothing but its close counts any more.
        """
        while self._parked:
            frame = self._parked.take()
            if frame.is_control or not self._is_held:
                self._hand_over(frame)

    def _hand_over(self, frame: Frame) -> None:
        if self._has_ended:
            return
        if frame.is_control:
            self._receive_control(frame)
        else:
            self.sink.frames_received((frame,))

    def _receive_frames(self, data: bytes) -> None:
        if self._parked.has_close:
            return
        frames = self._scanner.feed(data)
        if self._is_parking or any(frame.is_control for frame in frames):
            self._receive_mixed(frames)
            self._read_or_not()
        elif frames and not self._has_ended:
            self.sink.frames_received(frames)
        violation = self._scanner.violation
        if violation is not None and not self._parked.has_close:
            self._refuse_frames(violation)

    def _refuse_frames(self, violation: Violation) -> None:
        self._settle()
        if not self._has_ended:
            self._protocol.fail(violation.close_code, violation.reason)
            self._flush()
            self._end(CloseEvent(violation.close_code, violation.reason, is_violation=True))

    def _receive_mixed(self, frames: Sequence[Frame]) -> None:
        data_frames: list[Frame] = []
        for frame in frames:
            if self._has_ended or self._parked.has_close:
                return
            if not frame.is_control:
                if self._is_parking:
                    self._parked.add(frame)
                else:
                    data_frames.append(frame)
                continue
            if data_frames:
                self.sink.frames_received(data_frames)
                data_frames = []
            if self._parked and frame.opcode == Opcode.CLOSE:
                self._parked.add(frame)
            else:
                self._receive_control(frame)
        if data_frames and not self._has_ended:
            self.sink.frames_received(data_frames)

    def _receive_control(self, frame: Frame) -> None:
        self._protocol.receive_data(frame.raw)
        self._protocol.events_received()
        self._flush()
        if frame.opcode == Opcode.CLOSE:
            close, is_violation = self._protocol.close_rcvd, False
            if close is None:
                close, is_violation = Close(1002, "invalid close frame"), True
            self._end(CloseEvent(int(close.code), close.reason, is_violation=is_violation))

    def _flush(self) -> None:
        """Write what the protocol object has to say, then see whether it waits for the end."""
        for data in self._protocol.data_to_send():
            if self._transport is None or self._transport.is_closing():
                continue
            if not data:
                self._half_close()
            elif self.is_write_paused and data[0] == _PONG_FIRST_BYTE:
                # RFC 6455 section 5.5.3 lets us answer only the latest of several pings, so a
                # peer that pings without reading cannot fill our memory with pongs.
                self._held_pong = data
            else:
                self._transport.write(data)
        if self._protocol.close_expected() and self._close_timer is None:
            self._close_timer = self._loop.call_later(CLOSE_S, self._close_overdue)

    def _close_overdue(self) -> None:
        """The peer has not answered our close for ``CLOSE_S``."""
        self.abort()

    def _half_close(self) -> None:
        assert self._transport is not None
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _lose(self, reason: str) -> None:
        self._settle()
        self._end(CloseEvent(ABNORMAL, reason))
        self.abort()

    def _end(self, close: CloseEvent) -> None:
        if self._has_ended:
            return
        self._has_ended = True
        sink, self.sink = self.sink, Discard()
        sink.connection_closed(close)


def _fitting(reason: str) -> str:
    """A close reason cut to the 123 bytes that a control frame leaves for it."""
    return reason.encode()[:123].decode(errors="ignore")


def _loss_reason(exc: Exception | None) -> str:
    return "connection closed without a close frame" if exc is None else cause_of(exc)
