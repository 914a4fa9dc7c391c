"""WebSocket frames as values, and what a server sends in one. Pure.

``frame_scanner`` finds them in a stream of bytes. A read that is messages in one frame each, as
nearly every read of speech is, stays in one piece: its messages are spans of it, and only those
that somebody has to look into become frames.
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import Final

from msgspec import Struct

try:  # in C: four times as fast for the head of a frame, ten times for a whole one
    from websockets.speedups import apply_mask
except ImportError:  # where ``websockets`` was installed without its extension
    from websockets.utils import apply_mask

# What ``mask`` hides of ``data`` (RFC 6455 section 5.3), or what it makes of it: the same bytes.
unmask: Final = apply_mask


class Opcode(IntEnum):
    """Frame opcodes (RFC 6455 section 5.2)."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


# Plain integers beside the enum: comparing with an IntEnum member costs ten times as much.
_CONTINUATION: Final = int(Opcode.CONTINUATION)
_CLOSE: Final = int(Opcode.CLOSE)

# A message in one frame inside a read: its opcode, where its frame begins, where its payload
# begins, and where both end.
Span = tuple[int, int, int, int]


class Frame(Struct, frozen=True, gc=False):
    """One whole frame: ``raw`` is header, mask and payload; the payload starts at ``start``.

    A struct of msgspec: it is made in a third of the time of a named tuple.
    """

    opcode: int
    is_final: bool
    start: int
    raw: bytes

    @property
    def is_control(self) -> bool:
        """Whether this is a close, ping or pong frame."""
        return self.opcode >= _CLOSE

    @property
    def continues(self) -> bool:
        """Whether this is a later fragment of a message."""
        return self.opcode == _CONTINUATION

    @property
    def span(self) -> Span:
        """Where the message stands in ``raw``, if it is one."""
        return self.opcode, 0, self.start, len(self.raw)


def frames_of(read: bytes, spans: Iterable[Span]) -> list[Frame]:
    """The messages of a read as frames."""
    return [Frame(opcode, True, start - at, read[at:end]) for opcode, at, start, end in spans]


def spoken(opcode: int, message: bytes) -> Frame:
    """A final frame as a server sends it (RFC 6455 section 5.2): unmasked."""
    head = _head(opcode, len(message), mask_bit=0)
    return Frame(int(opcode), True, len(head), head + message)


def asked(opcode: int, message: bytes, mask: bytes) -> Frame:
    """A final frame as a client sends it, masked with the four random bytes ``mask``."""
    head = _head(opcode, len(message), mask_bit=0x80) + mask
    return Frame(int(opcode), True, len(head), head + apply_mask(message, mask))


def _head(opcode: int, size: int, *, mask_bit: int) -> bytes:
    """Opcode and length (RFC 6455 section 5.2)."""
    if size < 126:
        return bytes((0x80 | opcode, mask_bit | size))
    if size < 65_536:
        return bytes((0x80 | opcode, mask_bit | 126)) + size.to_bytes(2, "big")
    return bytes((0x80 | opcode, mask_bit | 127)) + size.to_bytes(8, "big")
