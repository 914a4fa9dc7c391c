"""However a peer's bytes arrive on a connection, its sink and the peer get the same."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, Opcode
from websockets.frames import Frame as WireFrame

from gateway.connections.close import CloseEvent
from gateway.connections.connection import Connection
from gateway.connections.receive_queue import Pause
from gateway.frames import Frame, Span, frames_of
from tests.support.written_bytes import WrittenBytes

TEXT, BINARY, CONT = Opcode.TEXT, Opcode.BINARY, Opcode.CONT


@dataclass
class Recorded:
    """A sink that keeps what it is given, and which way it came."""

    frames: list[Frame] = field(default_factory=list)
    endings: list[CloseEvent] = field(default_factory=list)
    shortly: int = 0

    def messages_received(self, read: bytes, spans: list[Span]) -> None:
        """Keep messages that were all of one read."""
        frames = frames_of(read, spans)
        assert b"".join(frame.raw for frame in frames) == read
        self.shortly += len(frames)
        self.frames += frames

    def frames_received(self, frames: Sequence[Frame]) -> None:
        """Keep them."""
        self.frames += frames

    def connection_closed(self, close: CloseEvent) -> None:
        """Keep the ending."""
        self.endings.append(close)


def opened(*, is_client: bool) -> tuple[Connection, Recorded, WrittenBytes]:
    """A connection whose handshake is done; ``is_client``: the peer is a client."""
    sink, transport = Recorded(), WrittenBytes()
    connection = Connection(expects_mask=is_client, sink=sink)
    connection.connection_made(cast(asyncio.BaseTransport, transport))
    return connection, sink, transport


def replayed(
    chunks: list[bytes], *, is_client: bool, pauses: Callable[[int], bool] = lambda _at: False
) -> tuple[Recorded, bytes]:
    """What comes of ``chunks``; before those for which ``pauses`` says so the sink is paused."""

    async def run() -> tuple[Recorded, bytes]:
        connection, sink, transport = opened(is_client=is_client)
        for at, chunk in enumerate(chunks):
            if pauses(at):
                connection.pause(Pause.BACKPRESSURE)
            connection.data_received(chunk)
            if pauses(at):
                connection.resume(Pause.BACKPRESSURE)
        timer = connection._close_timer
        if timer is not None:
            timer.cancel()
        return sink, bytes(transport.written)

    # What we send to a provider has masks of zeros, so that runs can be compared.
    with mock.patch("websockets.frames.secrets.token_bytes", bytes):
        return asyncio.run(run())


def wire(*frames: WireFrame, is_client: bool) -> list[bytes]:
    """Frames as the peer sends them. The mask is always the same, so that runs can be compared."""
    found = []
    for frame in frames:
        raw = frame.serialize(mask=False)
        if is_client:
            size = raw[1] & 0x7F
            at = 2 if size < 126 else 4 if size == 126 else 10
            raw = raw[:1] + bytes([raw[1] | 0x80]) + raw[2:at] + bytes(4) + raw[at:]
        found.append(raw)
    return found


def message(opcode: Opcode, size: int) -> WireFrame:
    """A message in one frame."""
    return WireFrame(opcode, b"x" * size)


SIZES = (0, 1, 125, 126, 127, 1_400, 65_535, 65_536)
# RFC 6455, by section; each also behind a message that comes alone, and before one.
STREAMS: dict[str, list[WireFrame]] = {
    **{f"5.2 {kind.name} of {size}": [message(kind, size)] for kind in (TEXT, BINARY)
       for size in SIZES},
    "5.4 two fragments": [WireFrame(TEXT, b"a", fin=False), WireFrame(CONT, b"b")],
    "5.4 an empty last fragment": [WireFrame(BINARY, b"a", fin=False), WireFrame(CONT, b"")],
    "5.4 a ping between": [
        WireFrame(TEXT, b"a", fin=False), WireFrame(Opcode.PING, b"p"), WireFrame(CONT, b"b"),
    ],
    "5.4 a message inside a message": [WireFrame(TEXT, b"a", fin=False), message(TEXT, 2)],
    "5.4 a continuation of nothing": [WireFrame(CONT, b"a")],
    "5.5.1 a close": [WireFrame(Opcode.CLOSE, Close(1000, "bye").serialize())],
    "5.5.1 a close without a code": [WireFrame(Opcode.CLOSE, b"")],
    "5.5.1 a close of one byte": [WireFrame(Opcode.CLOSE, b"\x03")],
    "5.5.1 a close with a code that is reserved": [WireFrame(Opcode.CLOSE, b"\x03\xed")],
    "5.5.2 a ping": [WireFrame(Opcode.PING, b"p" * 125)],
    "5.5.3 a pong that was not asked for": [WireFrame(Opcode.PONG, b"p")],
}  # fmt: skip
RAW: dict[str, bytes] = {  # as a client sends them, masked by zeros
    "5.2 reserved bit 1": b"\xc1\x81\0\0\0\0x", "5.2 reserved bit 2": b"\xa1\x81\0\0\0\0x",
    "5.2 reserved bit 3": b"\x91\x81\0\0\0\0x", "5.2 all of them": b"\xf2\x81\0\0\0\0x",
    **{f"5.2 opcode {code}": bytes([0x80 | code, 0x81]) + b"\0\0\0\0x"
       for code in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "5.1 a frame of a client without a mask": b"\x81\x01x",
    "5.1 the same, longer": b"\x81\x7e\x00\x7e" + b"x" * 126,
    "5.5 a fragmented ping": b"\x09\x81\0\0\0\0x",
    "5.5 a ping of 126 bytes": b"\x89\xfe\x00\x7e\0\0\0\0" + b"x" * 126,
    "5.2 a length in more bytes than it needs": b"\x81\xfe\x00\x01\0\0\0\0x",
    "5.2 the same, in eight": b"\x82\xff" + bytes(7) + b"\x01\0\0\0\0x",
    "10.4 a message over the bound": b"\x81\xff" + bytes(3) + b"\xff" + bytes(4) + bytes(4),
}  # fmt: skip


def assert_same(chunks: list[bytes], *, is_client: bool) -> None:
    """One frame a read, all in one, and byte by byte end the same."""
    whole = b"".join(chunks)
    (alone, by_frame), (_, at_once) = (
        replayed(given_chunks, is_client=is_client) for given_chunks in (chunks, [whole])
    )
    (together, _), (paused, by_pause) = (
        replayed([whole], is_client=is_client),
        replayed(chunks, is_client=is_client, pauses=lambda _at: True),
    )
    assert alone.frames == together.frames == paused.frames
    assert alone.endings == together.endings == paused.endings
    assert by_frame == at_once == by_pause
    if len(whole) < 2_000:
        singly, by_byte = replayed([whole[i : i + 1] for i in range(len(whole))],
                                   is_client=is_client)  # fmt: skip
        assert singly.frames == alone.frames
        assert singly.endings == alone.endings
        assert by_byte == by_frame


@pytest.mark.parametrize("is_client", [True, False], ids=["client", "provider"])
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_ends_the_same_by_the_short_way(name: str, is_client: bool) -> None:
    """Closes, pongs and frames are those of the scan, alone or among messages that came alone."""
    frames, spoken = STREAMS[name], message(TEXT, 300)
    for stream in (frames, [spoken, *frames], [*frames, spoken], [spoken, *frames, spoken]):
        assert_same(wire(*stream, is_client=is_client), is_client=is_client)


@pytest.mark.parametrize("name", RAW)
def test_what_is_refused_is_refused_by_the_short_way(name: str) -> None:
    """With the same close, whatever came before."""
    spoken = wire(message(TEXT, 300), is_client=True)
    for chunks in ([RAW[name]], [*spoken, RAW[name]], [*spoken, RAW[name], *spoken]):
        assert_same(chunks, is_client=True)


@pytest.mark.parametrize("is_client", [True, False], ids=["client", "provider"])
def test_speech_takes_the_short_way(is_client: bool) -> None:
    """A test of equality would pass as well if nothing took it."""
    chunks = wire(*[message(kind, size) for kind in (TEXT, BINARY) for size in SIZES],
                  is_client=is_client)  # fmt: skip
    sink, _ = replayed(chunks, is_client=is_client)
    assert sink.shortly == len(chunks) - 2, "all but those of 65,536 bytes"
    several, _ = replayed([b"".join(chunks[:3]), b"".join(chunks[:7])], is_client=is_client)
    assert several.shortly == 10, "and several at once"


kinds = st.sampled_from([name for name, frames in STREAMS.items() if len(frames[0].data) < 2_000])


@given(st.lists(kinds, max_size=5), st.booleans())
def test_any_mixture_ends_the_same(names: list[str], is_client: bool) -> None:
    """One after the other, legal or not."""
    frames = [frame for name in names for frame in STREAMS[name]]
    assert_same(wire(*frames, is_client=is_client), is_client=is_client)
