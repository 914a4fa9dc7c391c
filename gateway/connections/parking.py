"""Frames that wait until they may be handed over, in order. Pure."""

from collections import deque

from gateway.frames import Frame
from gateway.limits import RECEIVE_QUEUE_BYTES_MAX, RECEIVE_QUEUE_FRAME_BYTES


class Parking:
    """What a peer said while nobody may take it: data frames, and behind them at most a close."""

    __slots__ = ("_bytes", "_frames")

    def __init__(self) -> None:
        self._frames: deque[Frame] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        """Frames."""
        return len(self._frames)

    @property
    def has_close(self) -> bool:
        """Whether nothing that comes now counts."""
        return bool(self._frames) and self._frames[-1].is_control

    def has_room(self, pending_bytes: int) -> bool:
        """Whether more may be read, with so many bytes of a frame that is not whole."""
        return self._bytes + pending_bytes <= RECEIVE_QUEUE_BYTES_MAX

    def add(self, frame: Frame) -> None:
        """Keep it behind the others."""
        self._frames.append(frame)
        self._bytes += len(frame.raw) + RECEIVE_QUEUE_FRAME_BYTES

    def take(self) -> Frame:
        """The first; there must be one."""
        frame = self._frames.popleft()
        self._bytes -= len(frame.raw) + RECEIVE_QUEUE_FRAME_BYTES
        return frame
