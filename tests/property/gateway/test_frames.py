"""The frame scanner against what ``websockets`` itself parses."""

import itertools

from hypothesis import example, given
from hypothesis import strategies as st
from websockets.frames import Frame as ReferenceFrame
from websockets.frames import Opcode as ReferenceOpcode
from websockets.protocol import CLIENT, OPEN, SERVER, Protocol

from gateway.frame_scanner import FrameScanner, Violation
from gateway.frames import Frame, frames_of
from gateway.limits import FRAGMENTS_MAX

MESSAGE_MAX = 70_000  # two lengths of the length field lie below it, one above


@st.composite
def legal_frames(draw: st.DrawFn) -> list[ReferenceFrame]:
    """A legal sequence: messages in fragments, with pings and pongs anywhere between."""
    frames: list[ReferenceFrame] = []
    size = st.one_of(st.integers(0, 200), st.sampled_from([125, 126, 127, 65_535, 65_536]))
    for _ in range(draw(st.integers(0, 5))):
        opcode = draw(st.sampled_from([ReferenceOpcode.TEXT, ReferenceOpcode.BINARY]))
        parts = draw(st.integers(1, 3))
        for index in range(parts):
            if draw(st.booleans()):
                control = draw(st.sampled_from([ReferenceOpcode.PING, ReferenceOpcode.PONG]))
                frames.append(ReferenceFrame(control, b"p" * draw(st.integers(0, 125))))
            length = draw(size) if parts == 1 else draw(st.integers(0, 200))
            kind = ReferenceOpcode.CONT if index else opcode
            frames.append(ReferenceFrame(kind, b"x" * length, fin=index == parts - 1))
    return frames


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """``data`` cut at the given places."""
    edges = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def scan(scanner: FrameScanner, chunks: list[bytes]) -> list[Frame]:
    """Everything that the scanner finds in the chunks."""
    return [frame for chunk in chunks for frame in scanner.feed(chunk)]


@given(legal_frames(), st.lists(st.integers(0, 2**20), max_size=20), st.booleans())
def test_frames_in_are_frames_out(
    frames: list[ReferenceFrame], cuts: list[int], is_masked: bool
) -> None:
    """However the stream is split, the bytes of every frame come out as they went in."""
    raw = [frame.serialize(mask=is_masked) for frame in frames]
    scanner = FrameScanner(expects_mask=is_masked, message_bytes_max=MESSAGE_MAX)
    found = scan(scanner, pieces(b"".join(raw), cuts))
    assert [frame.raw for frame in found] == raw
    assert [(f.opcode, f.is_final) for f in found] == [(f.opcode, f.fin) for f in frames]
    assert all(len(f.raw) - f.start == len(r.data) for f, r in zip(found, frames, strict=True))
    assert scanner.violation is None


@given(
    legal_frames(), st.lists(st.integers(0, 2**20), max_size=20), st.booleans(), st.integers(1, 4)
)
def test_turns_find_what_one_scan_finds(
    frames: list[ReferenceFrame], cuts: list[int], is_masked: bool, most: int
) -> None:
    """However few frames a turn has, and whatever comes between two turns."""
    chunks = pieces(b"".join(frame.serialize(mask=is_masked) for frame in frames), cuts)
    whole, turns = (
        FrameScanner(expects_mask=is_masked, message_bytes_max=MESSAGE_MAX) for _ in range(2)
    )
    found: list[Frame] = []
    for chunk in chunks:
        found += turns.feed(chunk, most)
    while turns.is_behind:
        found += turns.feed(b"", most)
    assert found == scan(whole, chunks)
    assert (turns.in_message, turns.pending_bytes) == (whole.in_message, whole.pending_bytes)


@given(legal_frames(), st.lists(st.integers(0, 2**20), max_size=20), st.integers(0, 20))
def test_control_frames_are_found_where_data_is_of_no_use(
    frames: list[ReferenceFrame], cuts: list[int], useful: int
) -> None:
    """From whichever read on it is of none: all whole frames of control are there, in order."""
    chunks = pieces(b"".join(frame.serialize(mask=True) for frame in frames), cuts)
    whole, part = (FrameScanner(expects_mask=True, message_bytes_max=MESSAGE_MAX) for _ in range(2))
    found = scan(part, chunks[:useful])
    part.skip_data()
    found += scan(part, chunks[useful:])
    control = [frame for frame in scan(whole, chunks) if frame.is_control]
    assert [frame for frame in found if frame.is_control] == control
    assert part.pending_bytes <= 14 + 125
    assert part.violation is None


def scan_shortly(scanner: FrameScanner, chunks: list[bytes]) -> list[Frame]:
    """The same, where a chunk that is messages in one frame each takes the short way."""
    found: list[Frame] = []
    for chunk in chunks:
        found += frames_of(chunk, scanner.messages(chunk)) or scanner.feed(chunk)
    return found


def assert_both_agree(chunks: list[bytes], *, is_masked: bool, most: int = MESSAGE_MAX) -> None:
    """Both ways find the same frames, and the same fault after the same chunk."""
    long, short = (FrameScanner(expects_mask=is_masked, message_bytes_max=most) for _ in range(2))
    for chunk in chunks:
        assert scan_shortly(short, [chunk]) == scan(long, [chunk])
        assert short.violation == long.violation
        assert (short.in_message, short.pending_bytes) == (long.in_message, long.pending_bytes)


@given(
    legal_frames(), st.lists(st.integers(0, 2**20), max_size=6), st.booleans(),
    st.sampled_from([0, 100, MESSAGE_MAX]), st.booleans(),
)  # fmt: skip
def test_the_short_way_finds_what_the_scan_finds(
    frames: list[ReferenceFrame], cuts: list[int], is_masked: bool, most: int, is_wrong: bool
) -> None:
    """Frame by frame, in reads that begin and end anywhere, beyond the bound, and unduly masked."""
    raw = [frame.serialize(mask=is_masked is not is_wrong) for frame in frames]
    for chunks in (raw, pieces(b"".join(raw), cuts), [*raw, *pieces(b"".join(raw), cuts)]):
        assert_both_agree([chunk for chunk in chunks if chunk], is_masked=is_masked, most=most)


@given(st.lists(st.binary(min_size=1, max_size=12), max_size=6), st.booleans())
@example([b"\x82\xfe\x00\x01mask1"], True)  # a length in more bytes than it needs
@example([b"\x81\x7e\x00"], False)
@example([b"\x81\x7f" + b"\x00" * 7 + b"\x01x"], False)
@example([b"\x01\x01a", b"\x81\x01b"], False)  # a message inside a message
@example([b"\x81", b"\x81\x00"], False)
def test_the_short_way_refuses_what_the_scan_refuses(data: list[bytes], is_masked: bool) -> None:
    """On any bytes, those of ``ILLEGAL`` among them."""
    assert_both_agree(data, is_masked=is_masked)
    for wrong, _, _ in ILLEGAL:
        assert_both_agree([*data, wrong], is_masked=is_masked)


def reference(data: bytes, is_masked: bool) -> tuple[list[int], int | None]:
    """(opcodes that ``websockets`` parses, its close code if it refuses the stream)."""
    side = SERVER if is_masked else CLIENT
    protocol = Protocol(side, state=OPEN, max_size=MESSAGE_MAX)
    protocol.receive_data(data)
    opcodes = [int(event.opcode) for event in protocol.events_received()]
    failed = protocol.parser_exc is not None and protocol.close_sent is not None
    assert protocol.close_sent is None or failed or ReferenceOpcode.CLOSE in opcodes
    return opcodes, int(protocol.close_sent.code) if failed and protocol.close_sent else None


ILLEGAL = [
    (b"\x83\x80mask", 1002, "opcode 3"),
    (b"\x8b\x80mask", 1002, "opcode 11"),
    (b"\x81\x01x", 1002, "unmasked"),
    (b"\xc1\x80mask", 1002, "reserved bit"),
    (b"\x80\x80mask", 1002, "continuation of nothing"),
    (b"\x01\x80mask\x81\x80mask", 1002, "message inside a message"),
    (b"\x09\x80mask", 1002, "fragmented ping"),
    (b"\x89\xfe\x00\x7emask" + b"x" * 126, 1002, "long ping"),
    (b"\x01\x80mask\x88\x80mask", 1002, "close inside a message"),
    (b"\x81\xff\x00\x00\x00\x00\x00\x01\x11\x71mask", 1009, "too long"),
]


def test_refuses_what_the_rfc_refuses() -> None:
    """Every rule has its close code, the same as in ``websockets``, however the bytes arrive."""
    for data, code, rule in ILLEGAL:
        for chunks in ([data], [data[i : i + 1] for i in range(len(data))]):
            scanner = FrameScanner(expects_mask=True, message_bytes_max=MESSAGE_MAX)
            scan(scanner, chunks)
            assert isinstance(scanner.violation, Violation), rule
            assert scanner.violation.close_code == code, rule
        assert reference(data, is_masked=True)[1] == code, rule


def test_fragments_count_together_against_the_limit() -> None:
    """A message over the limit is refused although each of its fragments is under it."""
    scanner = FrameScanner(expects_mask=False, message_bytes_max=10)
    first, second = b"\x01\x06aaaaaa", b"\x80\x06bbbbbb"
    assert len(scanner.feed(first)) == 1
    assert scanner.feed(second) == []
    assert scanner.violation is not None
    assert scanner.violation.close_code == 1009


def test_fragments_are_counted_as_well_as_weighed() -> None:
    """Empty ones weigh nothing, and whoever waits for the last one would keep them without end."""
    scanner = FrameScanner(expects_mask=False)
    fragment = b"\x00\x00"
    assert len(scanner.feed(b"\x01\x00" + fragment * (FRAGMENTS_MAX - 1))) == FRAGMENTS_MAX
    assert scanner.violation is None
    scanner.feed(fragment)
    assert scanner.violation is not None
    assert scanner.violation.close_code == 1009
    fresh = FrameScanner(expects_mask=False)
    short = b"\x01\x00" + fragment * (FRAGMENTS_MAX - 2) + b"\x80\x00"
    assert len(fresh.feed(short * 2)) == 2 * FRAGMENTS_MAX
    assert fresh.violation is None


@given(st.binary(max_size=64), st.lists(st.integers(0, 64), max_size=5), st.booleans())
@example(b"\x88\x80mask\x81\x80mask", [], True)
@example(b"\x00\xff\x00\x00\x00\x00\x00\x01\x11q", [], True)
@example(b"\x08\xff\x00\x00\x00\x00\x00\x01\x11q", [], True)  # a control frame over the bound
@example(b"\xc1\x7f\x00\x00\x00\x00\x00\x01\x11q", [2], False)  # a reserved bit, and over it
@example(b"\x83\x7f\x00\x00\x00\x00\x00\x01\x11q", [2], True)  # no opcode, no mask, over it
def test_agrees_with_websockets_on_any_bytes(data: bytes, cuts: list[int], is_masked: bool) -> None:
    """On arbitrary bytes the scanner finds the frames and the fault that ``websockets`` finds."""
    opcodes, code = reference(data, is_masked)
    scanner = FrameScanner(expects_mask=is_masked, message_bytes_max=MESSAGE_MAX)
    found = [frame.opcode for frame in scan(scanner, pieces(data, cuts))]
    if 8 in found:  # after a close `websockets` reads nothing more, and it checks its payload
        assert found[: found.index(8)] == [x for x in opcodes if x != 8]
        return
    assert found == opcodes
    if code is not None:
        assert scanner.violation is not None
        assert scanner.violation.close_code == code
    elif scanner.violation is not None:
        # `websockets` looks at reserved bits and control frames only once the payload is there.
        assert scanner.violation.close_code == 1002
