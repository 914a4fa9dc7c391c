"""Received frames that wait while their sink is paused. Pure.

``Connection`` owns one. While there is a reason to pause (``Pause``), data frames wait here in
order, and behind them at most one close frame. Pings never wait, so a paused peer still gets its
pongs and does not take the connection for dead. The queue is bounded, and so are all queues
together (``held_bytes``): ``wants_more`` is false once one of them is full, and then the connection
stops reading from TCP.

The states are a table (``TRANSITIONS``)::

    DIRECT ◀──▶ QUEUEING ──▶ EMPTYING ──▶ DIRECT or QUEUEING
       └────────────┴────────────┴──▶ ENDED
"""

from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, Flag, auto
from typing import Final

from gateway.connections.held_bytes import QUEUED
from gateway.frames import Frame
from gateway.limits import RECEIVE_QUEUE_BYTES_MAX, RECEIVE_QUEUE_FRAME_BYTES
from shared.state_machine import advance


class Pause(Flag):
    """Reasons to pause. Several may hold at once; delivery goes on when none does."""

    ADMISSION = auto()  # the opening handshake is being decided on: not a byte is read
    PRE_OPEN = auto()  # the provider is still dialled, and the buffer before it is full
    BACKPRESSURE = auto()  # the other connection's write buffer is full
    CREDIT = auto()  # accountd has not said yet whether the account has credit left
    OWNERSHIP = auto()  # accountd has not said yet whether the client owns the handle it named
    SETUP = auto()  # the provider is replaced, or has not accepted the configuration yet
    CROWDED = auto()  # too many wait for their providers: not a byte is read
    FLOOR = auto()  # other sessions of the account are to be answered first: its credit is small
    LAST = auto()  # nothing is left of the credit: the peer is sent its last response
    UNREAD = auto()  # the peer does not read what its messages were answered with


_NO_REASON: Final = Pause(0)
# A peer that leaves while these hold need not wait for what it has sent before: it is dropped.
NOT_WAITED_FOR: Final = Pause.SETUP | Pause.FLOOR | Pause.LAST
# A session waits for leave to forward these frames, or for a provider to take them, so they are
# dropped when the peer disconnects. Frames that only wait for capacity were allowed: they are
# delivered before the end is.
_WITHOUT_LEAVE: Final = NOT_WAITED_FOR | Pause.CREDIT | Pause.OWNERSHIP | Pause.UNREAD


# While these hold nothing is read, however much could be kept.
_UNREADABLE: Final = Pause.ADMISSION | Pause.CROWDED


class Intake(Enum):
    """What happens to data frames that arrive."""

    DIRECT = auto()  # they go straight to the sink
    QUEUEING = auto()  # they wait: there is a reason to pause, or others wait before them
    EMPTYING = auto()  # those that waited are being delivered; new ones go behind them
    ENDED = auto()  # the sink has heard of the end: they are dropped


TRANSITIONS: Final = {
    Intake.DIRECT: {Intake.QUEUEING, Intake.ENDED},
    Intake.QUEUEING: {Intake.EMPTYING, Intake.ENDED},
    Intake.EMPTYING: {Intake.DIRECT, Intake.QUEUEING, Intake.ENDED},
    Intake.ENDED: set[Intake](),
}


class ReceiveQueue:
    """Frames of one peer that wait for its sink, and the reasons why."""

    __slots__ = ("_bytes", "_frames", "_is_ending", "paused", "state")

    def __init__(self) -> None:
        self._frames: deque[Frame] | None = None  # none waits; an empty deque takes 760 bytes
        self._bytes = 0
        self._is_ending = False  # the peer is gone: nothing can wait any more
        self.paused = _NO_REASON
        self.state = Intake.DIRECT

    def __len__(self) -> int:
        """How many frames wait."""
        return 0 if self._frames is None else len(self._frames)

    @property
    def is_over(self) -> bool:
        """Whether what arrives now is dropped: the end was delivered, or a close waits here."""
        has_close = bool(self._frames and self._frames[-1].is_control)
        return has_close or self.state is Intake.ENDED

    def wants_more(self, pending_bytes: int) -> bool:
        """Whether to read on, when ``pending_bytes`` of an incomplete frame are here already."""
        if self.paused is _NO_REASON:
            return True
        has_capacity = self._bytes + pending_bytes <= RECEIVE_QUEUE_BYTES_MAX
        return has_capacity and not QUEUED.is_full and not self.paused & _UNREADABLE

    def put(self, frame: Frame) -> None:
        """Append a data frame, or the close frame that ends them."""
        assert self.state in (Intake.QUEUEING, Intake.EMPTYING)
        if self._frames is None:
            self._frames = deque()
        self._frames.append(frame)
        self._count(len(frame.raw) + RECEIVE_QUEUE_FRAME_BYTES)

    def put_back(self, frames: Sequence[Frame]) -> None:
        """Frames that were delivered, and which the sink cannot take while it is paused: they wait
        before all others. Dropped where the peer is gone.
        """
        if self._is_ending or self.state not in (Intake.QUEUEING, Intake.EMPTYING):
            return
        if self._frames is None:
            self._frames = deque()
        self._frames.extendleft(reversed(frames))
        self._count(sum(len(frame.raw) + RECEIVE_QUEUE_FRAME_BYTES for frame in frames))

    def pause(self, reason: Pause) -> None:
        """Deliver nothing until ``reason`` is gone."""
        self.paused |= reason
        if self.state is Intake.DIRECT:
            self._move(Intake.QUEUEING)

    def resume(self, reasons: Pause, deliver: Callable[[Frame], None]) -> None:
        """``reasons`` are gone: if none is left, pass what waits to ``deliver``.

        ``deliver`` may pause again, as when the first of three frames fills the other connection's
        write buffer: then the other two go on waiting.
        """
        if self.paused is not _NO_REASON:  # to combine flags costs as much as all the rest
            self.paused &= ~reasons
        if self.state is Intake.QUEUEING and not self.paused:
            self._empty(deliver, is_last=False)

    def empty_before_end(self, deliver: Callable[[Frame], None]) -> None:
        """The peer is gone: deliver what it had sent before, however full the other connection is.

        Data frames that a session withholds are dropped: the client is not there to be answered.
        """
        self._is_ending = True
        if self.state is Intake.QUEUEING:
            self._empty(deliver, is_last=True)

    def end(self) -> None:
        """The sink hears of the end now, and of nothing afterwards."""
        self._frames = None
        self._count(-self._bytes)
        self._move(Intake.ENDED)

    # --- helpers ----------------------------------------------------------------------------------

    def _count(self, more: int) -> None:
        self._bytes += more
        QUEUED.add(more)

    def _empty(self, deliver: Callable[[Frame], None], *, is_last: bool) -> None:
        self._move(Intake.EMPTYING)
        try:
            while self._frames and (is_last or not self.paused):
                frame = self._frames.popleft()
                self._count(-len(frame.raw) - RECEIVE_QUEUE_FRAME_BYTES)
                if frame.is_control or not (is_last and self.paused & _WITHOUT_LEAVE):
                    deliver(frame)
        finally:
            self._after_emptying()

    def _after_emptying(self) -> None:
        if self.state is Intake.EMPTYING:  # else ``deliver`` has ended the connection
            self._frames = self._frames or None
            has_more = bool(self._frames or self.paused)
            self._move(Intake.QUEUEING if has_more else Intake.DIRECT)

    def _move(self, state: Intake) -> None:
        self.state = advance(TRANSITIONS, self.state, state)
