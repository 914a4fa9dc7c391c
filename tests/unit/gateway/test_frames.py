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


def test_a_scanner_stops_after_so_many_frames() -> None:
    """The rest waits in it, whole or not, and comes without further data."""
    one, two, three = (spoken(Opcode.PING, name) for name in (b"1", b"2", b"3"))
    scanner = FrameScanner(expects_mask=False)
    assert scanner.feed(one.raw + two.raw + three.raw + b"\x81", 2) == [one, two]
    assert scanner.is_behind
    assert scanner.feed(b"", 2) == [three]
    assert not scanner.is_behind
    assert scanner.feed(b"\x00", 2) == [spoken(Opcode.TEXT, b"")]


def test_more_messages_than_may_be_looked_at_do_not_take_the_short_way() -> None:
    """Exactly so many do."""
    raw = spoken(Opcode.TEXT, b"hello").raw
    scanner = FrameScanner(expects_mask=False)
    assert len(scanner.messages(raw * 3, 3)) == 3
    assert scanner.messages(raw * 4, 3) == []


@pytest.mark.parametrize("before", [0, 1, 8, 20, 50_000])
def test_data_of_no_use_is_not_kept(before: int) -> None:
    """However much of it is here; the control frame behind it is found."""
    scanner = FrameScanner(expects_mask=False)
    raw, close = spoken(Opcode.TEXT, b"x" * 70_000).raw, spoken(Opcode.CLOSE, b"")
    assert scanner.feed(raw[:before]) == []
    scanner.skip_data()
    assert scanner.feed(raw[before:60_000]) == []
    assert scanner.pending_bytes == scanner.unfinished_bytes == 0
    assert scanner.messages(spoken(Opcode.TEXT, b"hello").raw) == []
    assert scanner.feed(raw[60_000:] + close.raw) == [close]


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
