"""WebSocket frames as bytes, wrong ones too, over a real socket; and what comes back, in words.

A case says what is sent after the opening handshake, what is heard, and what is delivered. What is
heard is written as ``"pong a, close 1000 bye"``; ``close 1002 *`` has some reason, and ``reset``
stands last where the TCP connection is reset and not ended. Nothing heard but its end is ``""``.
"""

import asyncio
import re
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from websockets.exceptions import ProtocolError
from websockets.frames import Close, Opcode
from websockets.frames import Frame as WebSocketFrame
from websockets.streams import StreamReader
from websockets.utils import accept_key, apply_mask

T = TypeVar("T")

# First bytes of frames (RFC 6455 section 5.2): FIN and the opcode.
TEXT, BINARY, LAST, CLOSE, PING, PONG = 0x81, 0x82, 0x80, 0x88, 0x89, 0x8A
TEXT_BEGINS, BINARY_BEGINS, MIDDLE = 0x01, 0x02, 0x00
RSV1, RSV2, RSV3 = 0x40, 0x20, 0x10
KEY: Final = b"\x9d\x01\xf2\x7f"
READY: Final = b"ready"  # the first message of whoever speaks second: from here on bytes arrive
_READ_BYTES: Final = 65_536
_ACCEPTS: Final = re.compile(rb"Sec-WebSocket-Key: *(\S+)", re.I)
SECONDS: Final = 20.0
_IS_LAST: Final = re.compile(r'close|text .*"response\.cancel"').match


@dataclass(frozen=True)
class Case:
    """One stream of frames. ``theirs`` is what is heard of ``websockets``, where that differs on
    purpose, ``theirs_delivered`` what that delivers; ``why`` is the reason.

    ``ends``: half-closes the connection behind its bytes.
    """

    name: str
    sent: bytes
    heard: str
    delivered: tuple[str | bytes, ...] = ()
    ends: bool = False
    theirs: str | None = None
    theirs_delivered: tuple[str | bytes, ...] | None = None
    why: str = ""

    def __str__(self) -> str:
        """Its name, for pytest."""
        return self.name


@dataclass(frozen=True)
class Outcome:
    """What came of a case."""

    heard: str
    delivered: tuple[str | bytes, ...]

    def agrees(self, heard: str, delivered: Iterable[str | bytes]) -> bool:
        """Whether it is what a case says."""
        pattern = re.escape(heard).replace(r"\*", ".*")
        return bool(re.fullmatch(pattern, self.heard)) and self.delivered == tuple(delivered)


# --- bytes ----------------------------------------------------------------------------------------


def frame(
    first: int, payload: bytes = b"", *, key: bytes = b"", width: int = 0, size: int | None = None
) -> bytes:
    """A frame, masked where there is a ``key``. Its length takes ``width`` further bytes, 0 for as
    few as it needs, and says ``size`` where that is not the payload's.
    """
    length = len(payload) if size is None else size
    width = width or (0 if length < 126 else 2 if length < 65_536 else 8)
    short = {0: length, 2: 126, 8: 127}[width]
    head = bytes([first, short | (0x80 if key else 0)])
    return head + (length.to_bytes(width, "big") if width else b"") + key + masked(payload, key)


def masked(payload: bytes, key: bytes) -> bytes:
    """The payload under a key, if there is one."""
    return apply_mask(payload, key) if key else payload


def closing(code: int, reason: bytes = b"", *, key: bytes = b"") -> bytes:
    """A close frame, of any code."""
    return frame(CLOSE, code.to_bytes(2, "big") + reason, key=key)


def in_words(data: bytes, *, is_masked: bool) -> list[str]:
    """The whole frames of a stream."""
    reader, words = StreamReader(), []
    reader.feed_data(data)
    while True:
        parsing = WebSocketFrame.parse(reader.read_exact, mask=is_masked)
        try:
            next(parsing)
        except StopIteration as done:
            words.append(_word(done.value))
        else:
            return words


def _word(one: WebSocketFrame) -> str:
    if one.opcode is Opcode.CLOSE:
        close = Close.parse(bytes(one.data))
        said = [str(close.code)] if one.data else []
        said += [close.reason] if close.reason else []
        return " ".join(["close", *said])
    name = one.opcode.name.lower() + ("" if one.fin else " (begins)")
    return f"{name} {bytes(one.data).decode(errors='backslashreplace')}".rstrip()


# --- sockets --------------------------------------------------------------------------------------


class RawPeer:
    """A socket that sends what it is told, and keeps what it hears."""

    def __init__(self, connection: socket.socket, *, is_server: bool) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection
        self._is_server = is_server
        self._loop = asyncio.get_running_loop()

    async def until(self, end: bytes) -> bytes:
        """Bytes up to and including ``end``; nothing may follow it."""
        data = b""
        while not data.endswith(end):
            piece = await self._loop.sock_recv(self._socket, _READ_BYTES)
            assert piece, data
            data += piece
        return data

    async def say(self, data: bytes) -> None:
        """Send bytes."""
        await self._loop.sock_sendall(self._socket, data)

    async def play(self, case: Case, *, is_bytewise: bool) -> str:
        """Send a case and hear what comes of it until the connection has ended."""
        sending = asyncio.create_task(self._send(case, is_bytewise=is_bytewise))
        try:
            async with asyncio.timeout(SECONDS):
                return await self._hear()
        except (TimeoutError, ProtocolError) as exc:
            return f"failed: {exc!r}"
        finally:
            sending.cancel()

    async def _send(self, case: Case, *, is_bytewise: bool) -> None:
        step = 1 if is_bytewise and len(case.sent) < 1_000 else 1 + len(case.sent) // 3
        pieces = range(0, len(case.sent), step if is_bytewise else len(case.sent) or 1)
        for at in pieces:
            try:
                await self.say(case.sent[at : at + pieces.step])
            except ConnectionError:  # the other side has ended it: what it said is heard
                return
            await asyncio.sleep(0)
        if case.ends:
            self._socket.shutdown(socket.SHUT_WR)

    async def _hear(self) -> str:
        """As a peer should, a close is answered; a server ends the connection then, and where the
        gateway awaits its answer to a cancel.
        """
        data, has_answered, last = b"", False, []
        while True:
            try:
                piece = await self._loop.sock_recv(self._socket, _READ_BYTES)
            except ConnectionError:
                last = ["reset"]
                break
            if not piece:
                break
            data += piece
            words = in_words(data, is_masked=self._is_server)
            if not has_answered and any(map(_IS_LAST, words)):
                has_answered = True
                self._answer_close()
        return ", ".join(in_words(data, is_masked=self._is_server) + last)

    def _answer_close(self) -> None:
        try:
            self._socket.send(closing(1000, key=b"" if self._is_server else KEY))
            if self._is_server:
                self._socket.shutdown(socket.SHUT_WR)
        except OSError:  # it has ended the connection already
            pass


async def in_time(told: asyncio.Future[T], otherwise: T) -> T:
    """What comes of a case; ``otherwise`` where that takes too long, and the next ones go on."""
    try:
        return await asyncio.wait_for(told, SECONDS)
    except TimeoutError:
        return otherwise


def answered(case: Case, ours: Outcome, theirs: Outcome) -> None:
    """Both came out as the table says: the same, where it gives no reason."""
    assert ours.agrees(case.heard, case.delivered), ours
    heard = case.heard if case.theirs is None else case.theirs
    delivered = case.delivered if case.theirs_delivered is None else case.theirs_delivered
    assert theirs.agrees(heard, delivered), theirs


def is_whole(cases: Sequence[Case], *, at_least: int) -> None:
    """Names are unique, and each difference has a reason."""
    assert len({case.name for case in cases}) == len(cases) >= at_least
    for case in cases:
        differs = case.theirs is not None or case.theirs_delivered is not None
        assert differs is bool(case.why), case


@contextmanager
def dialled(port: int) -> Iterator[RawPeer]:
    """A client of a server on this machine."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        yield RawPeer(connection, is_server=False)


def acceptance(request: bytes) -> bytes:
    """The answer to a client's opening handshake."""
    found = _ACCEPTS.search(request)
    assert found is not None
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_key(found[1].decode())}\r\n\r\n"
    ).encode()
