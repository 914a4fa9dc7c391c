"""Frames that the gateway makes itself, and what a scanner says of those it holds."""

import pytest
from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode as WireOpcode

from gateway.frame_scanner import FrameScanner
from gateway.frames import Opcode, spoken


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 70_000])
@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
def test_a_frame_of_ours_is_the_one_that_websockets_would_send(opcode: Opcode, size: int) -> None:
    """RFC 6455 section 5.2: the shortest of three lengths, and no mask."""
    message = b"x" * size
    frame = spoken(opcode, message)
    assert frame.raw == WireFrame(WireOpcode(opcode), message).serialize(mask=False)
    assert frame.raw[frame.start :] == message
    assert FrameScanner(expects_mask=False, message_bytes_max=size).feed(frame.raw) == [frame]


def test_the_bytes_of_an_incomplete_frame_are_counted() -> None:
    """A paused connection bounds what it holds by them."""
    scanner = FrameScanner(expects_mask=False)
    raw = spoken(Opcode.TEXT, b"hello").raw
    assert scanner.feed(raw + raw[:4]) == [spoken(Opcode.TEXT, b"hello")]
    assert scanner.pending_bytes == 4
    scanner.feed(raw[4:])
    assert scanner.pending_bytes == 0


KINDS = [
    # opcode; whether it is a control frame, whether it continues a message
    (Opcode.CONTINUATION, False, True),
    (Opcode.TEXT, False, False),
    (Opcode.BINARY, False, False),
    (Opcode.CLOSE, True, False),
    (Opcode.PING, True, False),
    (Opcode.PONG, True, False),
]


@pytest.mark.parametrize(("opcode", "is_control", "continues"), KINDS)
def test_the_opcode_says_what_a_frame_is(opcode: Opcode, is_control: bool, continues: bool) -> None:
    """RFC 6455 section 5.5: control frames have the highest bit of the four."""
    frame = spoken(opcode, b"")
    assert (frame.is_control, frame.continues) == (is_control, continues)
