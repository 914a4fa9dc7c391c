"""Finds the frames in a WebSocket byte stream by looking at their headers only. Pure.

``FrameScanner`` takes bytes as they arrive and returns whole frames, header and mask included.
Payloads are not unmasked, and not copied when a read holds exactly one frame. ``messages`` finds
the reads that are messages in one frame each, as nearly every read of speech is, by their headers
alone. A caller that gives way to others takes a number of frames at a time; the rest waits here.
What RFC 6455 forbids ends the stream with a ``Violation`` that carries its close code. The
rules and codes are those of ``websockets``: a property test compares the two on random streams.
"""

from typing import Final, NamedTuple

from gateway.frames import Frame, Opcode, Span
from gateway.limits import FRAGMENTS_MAX, MESSAGE_BYTES_MAX, RECEIVE_QUEUE_FRAME_BYTES

_HEADER_BYTES_MIN: Final = 2
_HEADER_BYTES_MAX: Final = 14
ANY_NUMBER: Final = 2**31  # of frames
_CONTROL_BYTES_MAX: Final = 125  # RFC 6455 section 5.5
_MASK_BIT: Final = 0x80
_WHOLE_TEXT: Final = 0x81  # the first byte of a message in one frame: FIN, and no reserved bit
_WHOLE_BINARY: Final = 0x82
_LENGTH_16: Final = 126  # the length is in the next two bytes; 127: in the next eight
# Plain integers: comparing with an IntEnum member costs ten times as much.
_CONTINUATION: Final = int(Opcode.CONTINUATION)
_CLOSE: Final = int(Opcode.CLOSE)
_DATA_OPCODES: Final = frozenset({_CONTINUATION, int(Opcode.TEXT), int(Opcode.BINARY)})
_CONTROLS: Final = frozenset({int(Opcode.CLOSE), int(Opcode.PING), int(Opcode.PONG)})


class Violation(NamedTuple):
    """The peer broke RFC 6455; ``close_code`` is what to fail the connection with."""

    close_code: int
    reason: str


class FrameScanner:
    """Splits one direction of one connection into frames.

    ``expects_mask`` is true for what a client sent (section 5.1). After a violation the scanner
    ignores everything.
    """

    __slots__ = (
        "_expects_mask",
        "_fragments",
        "_is_between",
        "_is_skipping",
        "_mask_bit",
        "_message_bytes",
        "_message_bytes_max",
        "_needed",
        "_pending",
        "_start",
        "_to_skip",
        "in_message",
        "is_behind",
        "violation",
    )  # fmt: skip

    def __init__(self, *, expects_mask: bool, message_bytes_max: int = MESSAGE_BYTES_MAX) -> None:
        self._expects_mask = expects_mask
        self._mask_bit = _MASK_BIT if expects_mask else 0
        self._start = 6 if expects_mask else 2  # of a payload behind a short header
        self._is_between = True  # nothing incomplete is here, and the stream is in order
        self._message_bytes_max = message_bytes_max
        self._message_bytes = self._fragments = 0
        self._pending = bytearray()
        self._needed = 0
        self._is_skipping = False  # data is of no use any more
        self._to_skip = 0  # bytes that are still to come of such a frame
        self.in_message = False
        self.is_behind = False  # whole frames may wait here: ``feed`` was told to stop
        self.violation: Violation | None = None

    @property
    def pending_bytes(self) -> int:
        """How many bytes are here that belong to no frame yet."""
        return len(self._pending)

    @property
    def unfinished_bytes(self) -> int:
        """How much somebody holds who waits for the end of the message: what is here of a frame,
        and the fragments before it.
        """
        if self._is_skipping:
            return 0
        fragments = self._message_bytes + self._fragments * RECEIVE_QUEUE_FRAME_BYTES
        return len(self._pending) + fragments

    def skip_data(self) -> None:
        """Keep no more of data frames that are incomplete: only control frames are of use."""
        self._is_skipping = True
        self._skip_incomplete()
        self._note_place()

    def forget(self) -> None:
        """Nothing that is here is of use any more."""
        self._pending.clear()
        self.is_behind = False

    def messages(self, data: bytes, most: int = ANY_NUMBER) -> list[Span]:
        """The messages, where ``data`` is whole ones in one frame of less than 64 KiB each.

        Empty in every other case, and where there are more than ``most``: then nothing has
        happened, and ``feed`` takes ``data``.
        """
        spans: list[Span] = []
        at, end = 0, len(data)
        if not self._is_between:
            return spans
        while end - at >= _HEADER_BYTES_MIN:
            first = data[at]
            if first != _WHOLE_TEXT and first != _WHOLE_BINARY:  # noqa: PLR1714 - a tuple costs more
                return []
            length, start = data[at + 1] ^ self._mask_bit, self._start
            if length == _LENGTH_16 and end - at > 4:
                length, start = data[at + 2] << 8 | data[at + 3], start + 2
            elif length >= _LENGTH_16:  # longer, or the mask bit is not as it has to be
                return []
            start += at
            following = start + length
            if following > end or length > self._message_bytes_max or len(spans) == most:
                return []
            spans.append((first & 0x0F, at, start, following))
            at = following
        return spans if at == end else []

    def feed(self, data: bytes, most: int = ANY_NUMBER) -> list[Frame]:
        """The frames that ``data`` completes, in order, and ``most`` of them: where there may be
        more it ``is_behind``, and finds the next ones without further data. Look at ``violation``
        afterwards.
        """
        refused = self.violation  # a name of its own: `_take` changes the attribute below
        if refused is not None:
            return []
        if self._to_skip:
            data = self._skipped(data)
        if self._pending:
            self._pending += data
            if len(self._pending) < self._needed:
                return []
            data = bytes(self._pending)
            self._pending.clear()
        frames: list[Frame] = []
        position, end = 0, len(data)
        self.is_behind = False
        while (frame := self._take(data, position, end)) is not None:
            frames.append(frame)
            position += len(frame.raw)
            if len(frames) == most and position < end:
                self.is_behind, self._needed = True, 0
                break
        if position < end and self.violation is None:
            self._pending += memoryview(data)[position:]
        if self._is_skipping and not self.is_behind:
            self._skip_incomplete()
        self._note_place()
        return frames

    def _note_place(self) -> None:
        is_within = self._pending or self._to_skip or self.in_message
        self._is_between = not (is_within or self.violation)

    def _skipped(self, data: bytes) -> bytes:
        """What follows a frame that is of no use."""
        skipped = min(self._to_skip, len(data))
        self._to_skip -= skipped
        return data[skipped:]

    def _skip_incomplete(self) -> None:
        """Drop what is here of a data frame whose header is complete."""
        is_data = bool(self._pending) and self._pending[0] & 0x0F < _CLOSE
        if is_data and self._needed > _HEADER_BYTES_MAX and not self.is_behind:
            self.in_message = self._pending[0] < 0x80
            self._to_skip = self._needed - len(self._pending)
            self._pending.clear()

    def _take(self, data: bytes, position: int, end: int) -> Frame | None:
        """The frame at ``position``; None when it is incomplete (see ``_needed``) or refused."""
        if end - position < _HEADER_BYTES_MIN:
            self._needed = _HEADER_BYTES_MIN
            return None
        first, second = data[position], data[position + 1]
        start, size = 2, second & 0x7F
        if size >= 126:
            start = 4 if size == 126 else 10
            if end - position < start:
                # The length is not here yet; what can be judged without it is judged at once.
                self._needed = start
                self.violation = self._check_start(first, is_masked=second >= 0x80)
                return None
            size = int.from_bytes(data[position + 2 : position + start], "big")
        violation = self._check(first, is_masked=second >= 0x80, size=size)
        if violation is not None:
            self.violation = violation
            return None
        if second >= 0x80:
            start += 4
        self._needed = start + size
        if self._needed > end - position:
            return None
        opcode, is_final = first & 0x0F, first >= 0x80
        if opcode < _CLOSE:
            self.in_message = not is_final
            self._message_bytes = 0 if is_final else self._message_bytes + size
            self._fragments = 0 if is_final else self._fragments + 1
        whole = not position and self._needed == end
        return Frame(
            opcode, is_final, start, data if whole else data[position : position + self._needed]
        )

    def _check(self, first: int, *, is_masked: bool, size: int) -> Violation | None:
        """What section 5 forbids, by a whole header, in the order in which ``websockets`` looks."""
        opcode = first & 0x0F
        violation = self._check_start(first, is_masked=is_masked)
        if violation is None:
            violation = self._check_size(size, is_data=opcode in _DATA_OPCODES)
        if violation is not None:
            return violation
        if first & 0x70:
            return Violation(1002, "reserved bits must be 0")
        if opcode not in _DATA_OPCODES:
            return self._check_control(first, size)
        if self.in_message is not (opcode == _CONTINUATION):
            expected = "expected a continuation frame"
            return Violation(1002, expected if self.in_message else "unexpected continuation frame")
        return None

    def _check_start(self, first: int, *, is_masked: bool) -> Violation | None:
        """What the first two bytes show, whatever the length is."""
        opcode = first & 0x0F
        if opcode not in _DATA_OPCODES and opcode not in _CONTROLS:
            return Violation(1002, "invalid opcode")
        if is_masked is not self._expects_mask:
            return Violation(1002, "incorrect masking")
        return None

    def _check_size(self, size: int, *, is_data: bool) -> Violation | None:
        """The bounds of a message, fragments together; a control frame is no part of one."""
        if size + (self._message_bytes if is_data else 0) > self._message_bytes_max:
            return Violation(1009, f"message over {self._message_bytes_max} bytes")
        if is_data and self._fragments >= FRAGMENTS_MAX:
            return Violation(1009, f"message in more than {FRAGMENTS_MAX} fragments")
        return None

    def _check_control(self, first: int, size: int) -> Violation | None:
        if size > _CONTROL_BYTES_MAX:
            return Violation(1002, "control frame too long")
        if first < 0x80:
            return Violation(1002, "fragmented control frame")
        if first & 0x0F == _CLOSE and self.in_message:
            return Violation(1002, "incomplete fragmented message")
        return None
