"""A socket of an abuser: it says what it is told, and closes nothing by itself."""

import asyncio
import contextlib
import json
import socket
import ssl
from dataclasses import dataclass
from typing import Any

from gateway.frames import Opcode, asked

# The kernel's least: what an abuser does not read stays at the gateway.
UNREAD_BYTES = 2_304
MASK = b"\1\2\3\4"
READ_BYTES = 65_536
# What all abusers send together, at most: a line of 1 Gbit/s. Over a loopback device without that,
# they would take the processors from everybody.
LINE_BYTES_PER_S = 125_000_000
PIECE_BYTES = 65_536


@dataclass(frozen=True)
class Place:
    """Where the gateway is, and with which key. ``source`` is the abusers' own address."""

    host: str
    port: int
    tls_port: int
    ops_port: int
    key: str
    source: str

    def session(self, query: str = "") -> bytes:
        """The handshake of a session at the provider that serves abusers alone."""
        target = f"/v1/realtime?provider=xai&model=grok-voice-1&rs_key={self.key}{query}"
        return request(target)


def request(target: str) -> bytes:
    """A handshake in the usual form."""
    return (
        f"GET {target} HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    ).encode()


def event(kind: str, **fields: Any) -> bytes:
    """A message of a client, in one frame."""
    return asked(Opcode.TEXT, json.dumps({"type": kind, **fields}).encode(), MASK).raw


def head(opcode: int, size: int) -> bytes:
    """The beginning of a masked final frame of more than 64 KiB."""
    return bytes([0x80 | opcode, 0xFF]) + size.to_bytes(8, "big") + MASK


class Line:
    """What all connections of a process share."""

    def __init__(self) -> None:
        self._free_at = 0.0

    async def take(self, size: int) -> None:
        """Wait until so many bytes have passed."""
        now = asyncio.get_running_loop().time()
        self._free_at = max(self._free_at, now) + size / LINE_BYTES_PER_S
        if self._free_at > now:
            await asyncio.sleep(self._free_at - now)


LINE = Line()


class Wire:
    """One connection to the gateway."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket()
        self._socket.setblocking(False)

    async def connect(self, port: int = 0, *, unread_bytes: int = 0) -> "Wire":
        """``unread_bytes``: how little the kernel is to keep of what is not read."""
        if unread_bytes:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, unread_bytes)
        self._socket.bind((self._place.source, 0))
        await self._loop.sock_connect(self._socket, (self._place.host, port or self._place.port))
        return self

    async def send(self, data: bytes) -> None:
        """Send all of it, as fast as it is taken."""
        for at in range(0, len(data), PIECE_BYTES):
            piece = data[at : at + PIECE_BYTES]
            await LINE.take(len(piece))
            await self._loop.sock_sendall(self._socket, piece)

    async def open_session(self, query: str = "") -> None:
        """Begin a session, and hear the provider's first event."""
        await self.send(self._place.session(query))
        heard = b""
        while b"session.created" not in heard:
            data = await self._loop.sock_recv(self._socket, READ_BYTES)
            if not data:
                raise ConnectionError(f"no session: {heard[:200]!r}")
            heard += data

    async def upgraded(self, query: str = "") -> None:
        """Begin a session whose provider takes its time."""
        await self.send(self._place.session(query))
        data = await self._loop.sock_recv(self._socket, READ_BYTES)
        if not data.startswith(b"HTTP/1.1 101"):
            raise ConnectionError(f"no session: {data[:200]!r}")

    async def drop(self) -> None:
        """Read until the end."""
        while await self._loop.sock_recv(self._socket, READ_BYTES):
            pass

    def close(self) -> None:
        """The abuser is gone."""
        self._socket.close()


def tls_hello() -> bytes:
    """The first message of TLS."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = context.wrap_bio(incoming, outgoing)
    with contextlib.suppress(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()
