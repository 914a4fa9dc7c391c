"""Pings and closes of an open connection are those of ``websockets``."""

from unittest import mock

from hypothesis import example, given
from hypothesis import strategies as st
from websockets.frames import Close, Opcode
from websockets.frames import Frame as WireFrame
from websockets.protocol import Protocol, Side, State

from gateway.connections.close import NO_STATUS
from gateway.connections.control import Control
from gateway.frame_scanner import FrameScanner

CODES = (1000, 1001, 1008, 1011, 1013, 3000, 4999)
PAYLOADS = st.one_of(
    st.sampled_from(CODES).map(lambda code: Close(code, "bye").serialize()),
    st.sampled_from([b"", b"\x03", b"\x03\xed", b"\x03\xe8\xff", b"\x03\xe8" + b"\xc3\xa9" * 60]),
    st.binary(max_size=125),
)
HEARD = st.tuples(st.sampled_from([Opcode.PING, Opcode.PONG, Opcode.CLOSE]), PAYLOADS)
SAID = st.sampled_from(["text", "end message", "ping", "close", "close without a code", "fail"])
Act = tuple[Opcode, bytes] | str


def heard(act: tuple[Opcode, bytes], ours: Control, theirs: Protocol, *, is_server: bool) -> None:
    """The peer sends a control frame."""
    raw = WireFrame(*act).serialize(mask=is_server)
    (frame,) = FrameScanner(expects_mask=is_server).feed(raw)
    ours.receive(frame)
    theirs.receive_data(raw)


def said(act: str, ours: Control, theirs: Protocol) -> None:
    """We send something, which a connection does while it is open."""
    match act:
        case "text":
            ours.text(b"hello")
            theirs.send_text(b"hello")
        case "end message":
            ours.end_message()
            theirs.send_frame(WireFrame(Opcode.CONT, b""))
        case "ping":
            ours.ping()
            theirs.send_ping(b"")
        case "close":
            ours.close(1001, "going away")
            theirs.send_close(1001, "going away")
        case "close without a code":
            ours.close(NO_STATUS, "")
            theirs.send_close()


@given(st.lists(HEARD | SAID, max_size=6), st.booleans())
@example(["close", (Opcode.CLOSE, b"\x03\xe8"), "ping"], True)
@example([(Opcode.CLOSE, b"\x03")], True)
@example([(Opcode.CLOSE, b"\x03")], False)
@example(["close", "fail"], True)
def test_control_frames_are_those_of_websockets(acts: list[Act], is_server: bool) -> None:
    """What is written, whether the end is awaited, and how the peer closed: after every step."""
    ours = Control(is_server=is_server)
    theirs = Protocol(Side.SERVER if is_server else Side.CLIENT)
    with mock.patch("websockets.frames.secrets.token_bytes", bytes):
        for act in acts:
            if not isinstance(act, str):
                heard(act, ours, theirs, is_server=is_server)
            elif act == "fail":
                ours.fail(1002, "no")
                theirs.fail(1002, "no")
            elif ours.is_open:
                said(act, ours, theirs)
            assert_same(ours, theirs)
            if act == "fail" or act[0] is Opcode.CLOSE:
                break  # a connection hears nothing after that but the end
        ours.receive_end()
        theirs.receive_eof()
        assert_same(ours, theirs)
        ours.receive_end()
        assert ours.take() == []


def assert_same(ours: Control, theirs: Protocol) -> None:
    """Both are at the same point, and say the same."""
    assert ours.take() == theirs.data_to_send()
    assert ours.is_open == (theirs.state is State.OPEN)
    assert ours.expects_end == theirs.close_expected()
    assert ours.closed_by == theirs.close_rcvd
