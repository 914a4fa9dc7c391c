"""One WebSocket connection after its opening handshake: whole frames in, bytes out.

A ``Connection`` owns one transport. It is called by the event loop with bytes, and by ``relay`` and
``calls`` with frames and events to write. Data frames are given to its ``sink`` as they came;
control frames go to ``Control``, which owns pings, closes and their states.

It promises:

* Whatever is written is whole frames, so control frames always fall on a frame boundary.
* A peer is reached through its ``Connection`` alone. When one side of a session has ended, the sink
  of the other is exchanged for one that has no reference to it: no late frame can be written there.
* While the sink is paused (``pause``), reading goes on so that the peer's pings are answered. Data
  frames wait in a ``ReceiveQueue``, up to ``RECEIVE_QUEUE_BYTES_MAX``; past that the transport is
  paused, and TCP's flow control stops the peer. A close waits behind the data frames before it.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, cast

from mypy_extensions import mypyc_attr
from websockets.frames import Close

from gateway.connections import close as closes
from gateway.connections.close import ABNORMAL_CLOSURE, CloseEvent
from gateway.connections.control import END, Control
from gateway.connections.held_bytes import QUEUED
from gateway.connections.liveness import LOST, Liveness, PeerAction
from gateway.connections.receive_queue import NOT_WAITED_FOR, Intake, Pause, ReceiveQueue
from gateway.connections.sink import Discard, Sink
from gateway.frame_scanner import ANY_NUMBER, FrameScanner, Violation
from gateway.frames import Frame, Opcode
from gateway.limits import CLOSE_S, MESSAGE_BYTES_MAX, WRITE_HIGH_WATER_BYTES

_PONG_FIRST_BYTE: Final = 0x80 | int(Opcode.PONG)
# For every read: an attribute of an enum class costs several times as much.
_DIRECT: Final = Intake.DIRECT
_ALL_BUT_ADMISSION: Final = ~Pause.ADMISSION
_FIRST_CONTROL: Final = int(Opcode.CLOSE)  # RFC 6455 section 5.2: 8 and above are control frames


@mypyc_attr(allow_interpreted_subclasses=True)
class Connection:
    """A connection to a client or to a provider. Subclasses do the opening handshake."""

    __slots__ = (
        "_close_timer", "_control", "_frames_a_turn", "_has_heard", "_is_framed",
        "_is_mid_message", "_is_reading", "_liveness", "_loop", "_received", "_scanner",
        "_transport", "_unsent_pong", "feeder", "partial_max", "sink",
    )  # fmt: skip

    def __init__(self, *, expects_mask: bool, sink: Sink) -> None:
        """``expects_mask``: the peer is a client."""
        self._loop = asyncio.get_running_loop()
        self._control = Control(is_server=expects_mask)
        self._scanner = FrameScanner(expects_mask=expects_mask)
        self._transport: asyncio.Transport | None = None
        self._close_timer: asyncio.TimerHandle | None = None
        self._unsent_pong = b""
        # What arrives is frames. Subclasses do a handshake first; kept because every read asks.
        self._is_framed = True
        self._received = ReceiveQueue()
        self._is_reading = True  # what the transport was told last
        self._is_mid_message = False
        self._frames_a_turn = ANY_NUMBER  # found in one read before others have their turn
        now = self._loop.time()
        self._liveness = Liveness(heard_at=now, pinged_at=now)
        self._has_heard = False  # since ``_liveness`` was told last: to read the clock costs more
        self.sink: Sink = sink
        self.partial_max = MESSAGE_BYTES_MAX  # of a frame: less while its provider is not there
        # The connection whose frames are written here: it is paused while this one cannot keep up.
        self.feeder: Connection | None = None

    # --- for the session --------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether frames can be sent: no close was sent or received and the connection stands."""
        return self._is_framed and self._control.is_open and not self._has_ended

    @property
    def is_write_paused(self) -> bool:
        """Whether the write buffer is full, because the peer does not keep up."""
        return self._liveness.stalled_since is not None

    @property
    def is_mid_message(self) -> bool:
        """Whether a fragmented message was forwarded in part: an event of ours has to wait."""
        return self._is_mid_message

    def write_messages(self, read: bytes) -> None:
        """Forward messages that came in one read, as ``write`` does."""
        if self._transport is not None:
            self._transport.write(read)
            self._is_mid_message = False

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
        """Send a message of our own; false, and nothing sent, in the middle of a fragmented one."""
        if not self.is_open or self._is_mid_message:
            return False
        self._control.text(text)
        self._flush()
        return True

    def end_message(self) -> None:
        """Finish a fragmented message whose sender is gone, so that events of ours can follow."""
        if self.is_open and self._is_mid_message:
            self._is_mid_message = False
            self._control.end_message()
            self._flush()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Start the closing handshake; the connection is cut when the peer does not answer."""
        if not self.is_open:
            return
        self._control.close(code, closes.fitting(reason))
        self._flush()
        self.resume_all()  # the peer's answer stands behind everything that waits

    def abort(self) -> None:
        """Cut the connection now."""
        if self._transport is not None:
            self._transport.abort()

    def discard(self) -> None:
        """Cut the connection now, and hear nothing more of it, not even its end."""
        self.sink = Discard()
        self.abort()

    def pause(self, reason: Pause) -> None:
        """Deliver nothing to the sink until ``reason`` is gone."""
        if self._transport is not None and not self._transport.is_closing():
            self._received.pause(reason)
            self.review_reading()

    def hold_back(self, reason: Pause, frames: Sequence[Frame]) -> None:
        """The sink cannot take ``frames``, the last of those that it was given: they are delivered
        again, before all others, when ``reason`` is gone.
        """
        self.pause(reason)
        self._received.put_back(frames)
        self.review_reading()

    def resume(self, reasons: Pause) -> None:
        """``reasons`` are gone: when no other is left, deliver what waited and go on."""
        self._received.resume(reasons, self._deliver)
        self.review_reading()

    def resume_all(self) -> None:
        """Nothing is a reason to pause any more, except that admission is being decided on."""
        self.resume(_ALL_BUT_ADMISSION)

    def check(self, now: float) -> None:
        """Called every second: cut a stalled or silent peer, ping a quiet one."""
        self._note_heard(now)
        self._act(self._liveness.due(now, is_reading=self._is_reading), now)

    @property
    def heard_at(self) -> float:
        """When the peer sent something last, as far as ``check`` was called since."""
        return self._liveness.heard_at

    def check_addressed(self, now: float) -> None:
        """Called after ``check`` where the peer was told something since it was heard last: whether
        it is there shows sooner.
        """
        if not self._has_ended:
            self._act(self._liveness.due_when_addressed(now, is_reading=self._is_reading), now)

    def _act(self, due: PeerAction, now: float) -> None:
        if due in LOST:
            self.lose(LOST[due])
        elif due is PeerAction.PING and self.is_open:
            self._liveness.pinged_at = now
            self._control.ping()
            self._flush()

    # --- for the event loop -----------------------------------------------------------------------

    def as_protocol(self) -> asyncio.Protocol:
        """For the event loop: a class that mypyc compiles has no base that is Python."""
        return cast(asyncio.Protocol, self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_WATER_BYTES)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop: give whole frames to the sink. Messages in one frame each take
        the short way; all else, and all while frames have to wait, is scanned.
        tests/property/gateway/connections holds that both ways end the same.
        """
        if not self._is_framed:
            self._receive_handshake(data)
            return
        self._has_heard = True
        if self._received.state is _DIRECT:
            spans = self._scanner.messages(data, self._frames_a_turn)
            if spans:
                self.sink.messages_received(data, spans)
                return
        self._scan(data)

    def _receive_handshake(self, data: bytes) -> None:
        """Take what arrives before there are frames."""
        raise NotImplementedError

    def _scan(self, data: bytes) -> None:
        is_direct = self._received.state is _DIRECT
        if not is_direct and self._received.is_over:
            self._scanner.forget()
            return
        frames = self._scanner.feed(data, self._frames_a_turn)
        for frame in frames:
            is_direct = is_direct and frame.opcode < _FIRST_CONTROL
        if not is_direct:
            self._receive_one_by_one(frames)
            self.review_reading()
        elif frames:
            self.sink.frames_received(frames)
        if self._scanner.pending_bytes > self.partial_max:
            self.pause(Pause.PRE_OPEN)
        if self._scanner.violation is not None and not self._received.is_over:
            self._refuse_frames(self._scanner.violation)

    def eof_received(self) -> bool:
        """Called by the event loop; a false answer closes the transport. The end is delivered here,
        not in ``connection_lost``: in between the other connection may receive frames, and this one
        can write no more.
        """
        self._received.empty_before_end(self._deliver)
        self._control.receive_end()
        self._flush()
        self._end(CloseEvent(ABNORMAL_CLOSURE, closes.loss_reason(None)))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop, once, whatever ended the connection."""
        self._received.empty_before_end(self._deliver)
        self._control.receive_end()
        self._transport = None
        if self._close_timer is not None:
            self._close_timer.cancel()
        if self.feeder is not None:
            self.feeder.resume(Pause.BACKPRESSURE)
        self._end(CloseEvent(ABNORMAL_CLOSURE, closes.loss_reason(exc)))

    def pause_writing(self) -> None:
        """Called by the event loop when the write buffer is full."""
        self._liveness.stalled_since = self._loop.time()
        if self.feeder is not None:
            self.feeder.pause(Pause.BACKPRESSURE)

    def resume_writing(self) -> None:
        """Called by the event loop when the write buffer takes more again."""
        self._liveness.stalled_since = None
        if self._unsent_pong and self._transport is not None:
            self._transport.write(self._unsent_pong)
            self._unsent_pong = b""
        if self.feeder is not None:
            self.feeder.resume(Pause.BACKPRESSURE)
        self.resume(Pause.UNREAD)

    # --- what is received -------------------------------------------------------------------------

    @property
    def _has_ended(self) -> bool:
        return self._received.state is Intake.ENDED

    def _note_heard(self, now: float) -> None:
        """Tell the liveness that bytes came since the last call."""
        if self._has_heard:
            self._has_heard = False
            self._liveness.heard_at = now

    def _wants_more(self) -> bool:
        return self._received.wants_more(self._scanner.pending_bytes)

    def review_reading(self) -> None:
        """Tell the transport whether bytes are wanted, if that has changed: see ``held_bytes``."""
        QUEUED.note(self, waits=bool(self._received.paused))
        if self._transport is None or self._transport.is_closing():
            return
        is_reading = self._wants_more()
        if is_reading and not self._is_reading:
            self._transport.resume_reading()
        elif self._is_reading and not is_reading:
            self._transport.pause_reading()
        self._is_reading = is_reading

    def _receive_one_by_one(self, frames: Sequence[Frame]) -> None:
        """Take frames of which some are control frames, or of which data frames have to wait.

        Data frames of one read are delivered together as far as no control frame stands between.
        """
        ready: list[Frame] = []
        for frame in frames:
            if self._received.is_over:
                return
            if frame.is_control:
                if ready:
                    self.sink.frames_received(ready)
                    ready = []
                self._receive_control(frame)
            elif self._received.state is _DIRECT:
                ready.append(frame)
            else:
                self._received.put(frame)
        if ready and not self._has_ended:
            self.sink.frames_received(ready)

    def _receive_control(self, frame: Frame) -> None:
        """Handle a control frame at once, unless it is a close and data frames wait before it.

        What waits for a provider, or for its turn, is dropped: a peer that leaves is not to wait.
        """
        is_close = frame.opcode == Opcode.CLOSE
        if is_close and self._received.paused & NOT_WAITED_FOR:
            self._received.empty_before_end(self._deliver)
        if self._received and is_close:
            self._received.put(frame)
        else:
            self._handle_control(frame)

    def _deliver(self, frame: Frame) -> None:
        """Deliver a frame that has waited."""
        if frame.is_control:
            self._handle_control(frame)
        else:
            self.sink.frames_received((frame,))

    def _handle_control(self, frame: Frame) -> None:
        self._control.receive(frame)
        self._flush()
        if frame.opcode == Opcode.CLOSE:
            close, is_violation = self._control.closed_by, False
            if close is None:
                close, is_violation = Close(1002, "invalid close frame"), True
            self._end(CloseEvent(int(close.code), close.reason, is_violation=is_violation))

    def _refuse_frames(self, violation: Violation) -> None:
        self._received.empty_before_end(self._deliver)
        if not self._has_ended:
            self._control.fail(violation.close_code, violation.reason)
            self._flush()
            self._end(CloseEvent(violation.close_code, violation.reason, is_violation=True))

    def lose(self, reason: str) -> None:
        """Cut the connection, and tell the sink: the peer does not do what it should."""
        self._received.empty_before_end(self._deliver)
        self._end(CloseEvent(ABNORMAL_CLOSURE, reason, is_silence=True))
        self.abort()

    def _end(self, close: CloseEvent) -> None:
        if self._has_ended:
            return
        self._received.end()
        self._scanner.forget()
        QUEUED.note(self, waits=False)
        sink, self.sink = self.sink, Discard()
        sink.connection_closed(close)

    # --- what is written --------------------------------------------------------------------------

    def _flush(self) -> None:
        """Write what there is to say beside data, then see whether the end is awaited."""
        for data in self._control.take():
            if self._transport is None or self._transport.is_closing():
                continue
            if data == END:
                self._half_close()
            elif self.is_write_paused and data[0] == _PONG_FIRST_BYTE:
                # RFC 6455 section 5.5.3 lets us answer only the latest of several pings, so a
                # peer that pings without reading cannot fill our memory with pongs.
                self._unsent_pong = data
            else:
                self._transport.write(data)
        if self._control.expects_end and self._close_timer is None:
            self._close_timer = self._loop.call_later(CLOSE_S, self._close_overdue)

    def _close_overdue(self) -> None:
        self.abort()

    def _half_close(self) -> None:
        assert self._transport is not None
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()
