"""Clients and their provider on bare sockets: many sessions, at so little cost that a relay is
what limits them.

One loop over ``epoll`` plays both sides with prepared bytes. A client connects, and is *in* once it
has the provider's first event, so both connections of a relay stand then. It leaves with a close
frame, and is *gone* once the relay has ended the connection. The provider accepts each handshake,
greets, echoes audio, answers a cancel with the error that nothing is in progress, and answers a
close.
"""

import base64
import hashlib
import re
import select
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from bench.voice import AUDIO, CLOSE, SPOKEN, TEXT, event, frame

DEADLINE_S: Final = 30.0
READ_BYTES: Final = 16_384
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY_LINE: Final = re.compile(rb"\r\nsec-websocket-key: *([^ \r]+)", re.I)
_KEY: Final = b"AAAAAAAAAAAAAAAAAAAAAA=="
_GREETING: Final = frame(TEXT, event("session.created", session={}), is_masked=False)
_ECHO: Final = frame(TEXT, event("response.output_audio.delta", delta=AUDIO), is_masked=False)
_NOTHING: Final = frame(
    TEXT,
    event("error", error={"type": "invalid_request", "code": "response_cancel_not_active"}),
    is_masked=False,
)
_LEAVE: Final = frame(CLOSE, (1000).to_bytes(2, "big"), is_masked=True)
_LEFT: Final = frame(CLOSE, (1000).to_bytes(2, "big"), is_masked=False)
_HEAD_END: Final = b"\r\n\r\n"
_SWITCHED: Final = b"HTTP/1.1 101 "


def request(target: str) -> bytes:
    """The handshake of a client."""
    return (
        f"GET {target} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {_KEY.decode()}\r\n\r\n"
    ).encode()


def _accepted(head: bytes) -> bytes:
    """The answer to a handshake, and the first event."""
    found = _KEY_LINE.search(head)
    assert found is not None, "a handshake without a key"
    accept = base64.b64encode(hashlib.sha1(found[1] + _GUID, usedforsecurity=False).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + _HEAD_END + _GREETING
    )


class _Peer:
    """One end of a connection, read when ``epoll`` says so."""

    def __init__(self, crowd: "Crowd", connection: socket.socket) -> None:
        self.crowd = crowd
        self.connection = connection
        self._pending = b""
        crowd.watch(connection, self.readable)

    def readable(self) -> None:
        """Bytes have arrived, or the end."""
        try:
            data = self.connection.recv(READ_BYTES)
        except ConnectionError:
            data = b""
        if data:
            self._pending = self.received(self._pending + data)
        else:
            self.end()

    def received(self, data: bytes) -> bytes:
        """Take whole messages; what is left waits for more."""
        raise NotImplementedError

    def end(self) -> None:
        """Close."""
        self.crowd.forget(self.connection)
        self.connection.close()


class _Provider(_Peer):
    """The provider's end."""

    _is_open = False

    def received(self, data: bytes) -> bytes:
        """Accept, echo, answer."""
        if not self._is_open:
            end = data.find(_HEAD_END)
            if end < 0:
                return data
            self._is_open = True
            self.connection.send(_accepted(data[:end]))
            data = data[end + len(_HEAD_END) :]
        at = 0
        while len(data) >= at + 8:
            opcode, size = data[at] & 0x0F, data[at + 1] & 0x7F
            whole = 8 + int.from_bytes(data[at + 2 : at + 4], "big") if size == 126 else 6 + size
            if len(data) < at + whole:
                break
            at += whole
            if opcode == CLOSE:
                self.connection.send(_LEFT)
                self.end()
                return b""
            if opcode == TEXT:
                self.connection.send(_ECHO if size == 126 else _NOTHING)
        return data[at:]


class Client(_Peer):
    """A client; ``echoes`` are those that it heard since it came in."""

    is_in = False
    echoes = 0

    def received(self, data: bytes) -> bytes:
        """Note that the session stands; count."""
        if self.is_in:
            while data.startswith(_ECHO):
                self.echoes += 1
                data = data[len(_ECHO) :]
            return data
        if not data.endswith(_GREETING):
            assert data.startswith(_SWITCHED[: len(data)]), f"a session was refused: {data!r}"
            return data
        self.is_in = True
        self.crowd.came_in(self)
        return b""

    def leave(self) -> None:
        """Say that the session is over."""
        self.connection.send(_LEAVE)

    def speak(self) -> None:
        """Send one frame of audio, which the provider echoes."""
        self.connection.send(SPOKEN)

    def end(self) -> None:
        """The relay has ended the connection."""
        super().end()
        assert self.is_in, "a connection ended before its session stood"
        self.crowd.went(self)


class Crowd:
    """The provider at ``address``, and any number of clients."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._readable: dict[int, Callable[[], None]] = {}
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._listening.setblocking(False)
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self.watch(self._listening, self._accept)
        self._leaves_at_once = False
        self.inside: set[Client] = set()
        self._arrived = self._gone = 0

    def close(self) -> None:
        """End everything."""
        self._listening.close()
        self._epoll.close()

    def rush(self, relay: str, handshake: bytes, *, sessions: int, at_once: int) -> float:
        """Open so many sessions and leave each as soon as it stands, ``at_once`` at a time. The
        seconds that it took.
        """
        self._leaves_at_once = True
        begun = time.monotonic()
        self._open(relay, handshake, sessions=sessions, at_once=at_once, is_done=lambda: self._gone)
        self._leaves_at_once = False
        return time.monotonic() - begun

    def fill(self, relay: str, handshake: bytes, *, sessions: int, at_once: int) -> None:
        """Open so many sessions that stay."""
        self._open(
            relay, handshake, sessions=sessions, at_once=at_once, is_done=lambda: self._arrived
        )

    def talk(self, *, rounds: int) -> None:
        """Everybody inside speaks and is answered, so many times."""
        for _ in range(rounds):
            wanted = self.echoes + len(self.inside)
            for client in self.inside:
                client.speak()
            self.run_until(partial(self._has_heard, wanted))

    def empty(self) -> None:
        """Everybody leaves."""
        for client in self.inside:
            client.leave()
        self.run_until(lambda: not self.inside)

    def run_until(self, is_so: Callable[[], bool]) -> None:
        """Serve sockets until ``is_so``."""
        deadline = time.monotonic() + DEADLINE_S
        while not is_so():
            assert time.monotonic() < deadline, f"{self._arrived} came in, {self._gone} went"
            self._turn()

    def run_for(self, seconds: float) -> None:
        """Serve sockets for a while."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._turn()

    @property
    def echoes(self) -> int:
        """How many all clients inside have heard."""
        return sum(client.echoes for client in self.inside)

    # --- for peers --------------------------------------------------------------------------------

    def watch(self, connection: socket.socket, readable: Callable[[], None]) -> None:
        """Call ``readable`` when there is something to read."""
        self._readable[connection.fileno()] = readable
        self._epoll.register(connection, select.EPOLLIN)

    def forget(self, connection: socket.socket) -> None:
        """The connection is about to be closed."""
        del self._readable[connection.fileno()]

    def came_in(self, client: Client) -> None:
        """A session stands."""
        self._arrived += 1
        self.inside.add(client)
        if self._leaves_at_once:
            client.leave()

    def went(self, client: Client) -> None:
        """A session is over."""
        self._gone += 1
        self.inside.discard(client)

    # --- helpers ----------------------------------------------------------------------------------

    def _open(
        self,
        relay: str,
        handshake: bytes,
        *,
        sessions: int,
        at_once: int,
        is_done: Callable[[], int],
    ) -> None:
        host, _, port = relay.rpartition(":")
        address = (host, int(port))
        self._arrived = self._gone = 0
        for number in range(sessions):
            while number - is_done() >= at_once:
                self._turn()
            # Not ``create_connection``, which looks the address up each time.
            connection = socket.socket()
            connection.connect(address)
            connection.send(handshake)
            Client(self, connection)
        self.run_until(lambda: is_done() == sessions)

    def _has_heard(self, echoes: int) -> bool:
        return self.echoes >= echoes

    def _turn(self) -> None:
        for descriptor, _ in self._epoll.poll(0.1):
            readable = self._readable.get(descriptor)
            if readable is not None:  # else it was closed in this turn
                readable()

    def _accept(self) -> None:
        try:
            while True:
                _Provider(self, self._listening.accept()[0])
        except BlockingIOError:
            return
