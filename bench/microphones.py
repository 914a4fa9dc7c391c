"""Paced voice sessions on bare sockets, so cheap that a relay is what limits them.

One loop over ``epoll`` plays both sides: each client says a frame of 1.3 kB every 20 ms, evenly
spread over the sessions; the provider says a burst of 16 kB to each twice a second (half a second
of speech), and reports a response's usage with every tenth. Frames are prepared bytes. What
arrives is compared with what was sent, as a whole: only what differs is parsed.

Opening is done by threads with blocking sockets, TLS included. The first message of a client is the
number of its session, by which the provider's end is paired with it.
"""

import base64
import hashlib
import itertools
import resource
import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.voice import CLOSE, FRAME_S, SPOKEN, TEXT, TOKENS, echo_of, event, frame

BURST: Final = echo_of(16_000)
BURST_S: Final = 0.5
BURSTS_PER_RESPONSE: Final = 10
GRAIN_S: Final = 0.0002  # how long it may sleep when the next frame is due sooner
OPENING: Final = 16  # sessions at a time
WAIT_S: Final = 15.0
READ_BYTES: Final = 65_536
BACKLOG_S: Final = 1.0  # frames of so long on their way: the relay is overloaded
WINDOW_S: Final = 0.1
LATE_S_MAX: Final = 0.002  # of the generator: with more, the machine has disturbed a window
WAITED_MAX: Final = 0.1  # the same: the share of a window for which the relay waited for a core
_RESPONSES: Final = itertools.count(1)
_LEAVE: Final = frame(CLOSE, (1000).to_bytes(2, "big"), is_masked=True)
_KEY: Final = "AAAAAAAAAAAAAAAAAAAAAA=="
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_HEAD_END: Final = b"\r\n\r\n"


class OverloadedError(Exception):
    """More is on its way than the relay takes."""


@dataclass(slots=True)
class Tally:
    """Messages of one kind. Times are seconds, of those that were sent after the warm-up, by the
    window in which they were sent.
    """

    windows: int
    sent: int = 0
    right: int = 0  # arrived, and exactly as they were sent
    took_s: list[list[float]] = field(init=False)

    def __post_init__(self) -> None:
        """A list for each window."""
        self.took_s = [[] for _ in range(self.windows)]

    @property
    def on_the_way(self) -> int:
        """How many have not arrived."""
        return self.sent - self.right

    def in_windows(self, windows: Iterable[int]) -> list[float]:
        """The times of these windows."""
        return [took for window in windows for took in self.took_s[window]]


@dataclass(slots=True)
class Heard:
    """What came of a play."""

    frames: Tally
    bursts: Tally
    tokens: int = 0  # that the provider reported
    late_s: list[float] = field(init=False)  # the most that the generator was late, by window
    waited_s: list[float] = field(init=False)  # how long the relay waited for a core, by window
    is_overloaded: bool = False

    def __post_init__(self) -> None:
        """Nobody has waited."""
        self.late_s, self.waited_s = ([0.0] * self.frames.windows for _ in range(2))

    @property
    def quiet(self) -> list[int]:
        """The windows that other programs did not disturb, nor the one before it."""
        disturbed = [
            late > LATE_S_MAX or waited > WAITED_MAX * WINDOW_S
            for late, waited in zip(self.late_s, self.waited_s, strict=True)
        ]
        return [
            window
            for window, has_passed in enumerate(self.frames.took_s)
            if has_passed and not any(disturbed[max(0, window - 1) : window + 1])
        ]


@dataclass(slots=True, eq=False)
class Session:
    """Both ends of a session. Responses of all are spread evenly over time."""

    client: socket.socket
    provider: socket.socket
    bursts: int = 0


class Room:
    """A provider, and the sessions that clients have with it, through a relay or directly."""

    def __init__(self, certificate: tuple[Path, Path] | None = None) -> None:
        """``certificate`` (and its key): the provider serves TLS."""
        self._epoll = select.epoll()  # before the sockets: select takes no number above 1,023
        self._context = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*certificate)
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4_096)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._clients, self._providers = (ThreadPoolExecutor(OPENING) for _ in range(2))
        self._ends: dict[int, Future[socket.socket]] = {}
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """No more sessions."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._epoll.close()
        self._clients.shutdown()
        self._providers.shutdown()

    @contextmanager
    def sessions(
        self, count: int, address: str, head: str, trust: ssl.SSLContext | None = None
    ) -> Iterator[list[Session]]:
        """Sessions at ``address``; ``head`` is the first line of the handshake, and more headers.
        With ``trust`` they speak TLS to it.
        """
        self._ends = {number: Future() for number in range(count)}

        def enter(number: int) -> Session:
            client = self._enter(number, address, head, trust)
            end = self._ends[number].result(WAIT_S)
            return Session(client, end, bursts=number % BURSTS_PER_RESPONSE)

        opened = list(self._clients.map(enter, range(count)))
        try:
            yield opened
        finally:
            for session in opened:
                _leave(session)

    def play(
        self,
        sessions: list[Session],
        seconds: float,
        *,
        warm_up_s: float,
        waited_s: Callable[[], float],
    ) -> Heard:
        """Let all speak for ``seconds`` after the warm-up; returns when everything has arrived.

        ``waited_s``: for how long the relay has waited for a core so far.
        """
        return _Play(self._epoll, sessions, seconds, warm_up_s, waited_s).run()

    def _enter(
        self, number: int, address: str, head: str, trust: ssl.SSLContext | None
    ) -> socket.socket:
        host, _, port = address.rpartition(":")
        client = socket.create_connection((host, int(port)), timeout=WAIT_S)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if trust is not None:
            client = trust.wrap_socket(client, server_hostname="localhost")
        client.sendall(
            f"{head}\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {_KEY}\r\n\r\n".encode()
        )
        answer = _read_until(client, lambda data: _HEAD_END in data)
        assert b" 101 " in answer.split(b"\r\n")[0], answer
        client.sendall(frame(TEXT, event("session.update", number=number), is_masked=True))
        client.setblocking(False)
        return client

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed
                return
            self._providers.submit(self._greet, connection)

    def _greet(self, connection: socket.socket) -> None:
        connection.settimeout(WAIT_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context is not None:
            connection = self._context.wrap_socket(connection, server_side=True)
        data = _read_until(connection, lambda data: _HEAD_END in data)
        head, _, early = data.partition(_HEAD_END)
        lines = (line.partition(b":") for line in head.split(b"\r\n"))
        key = next(v.strip() for name, _, v in lines if name.lower() == b"sec-websocket-key")
        accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + _HEAD_END
        )
        first = _read_until(connection, lambda data: data.endswith(b"}"), early)
        number = int(first.rpartition(b":")[2].rstrip(b"}"))
        connection.setblocking(False)
        self._ends[number].set_result(connection)


class _Flow:
    """The messages that arrive at one end of a session."""

    def __init__(self, end: socket.socket, expected: bytes, tally: Tally, counted: float) -> None:
        self._receive = end.recv
        self._expected = expected
        self._tally = tally
        self._counted_from = counted
        self._rest = b""
        self.sent_at: deque[float] = deque()

    def read(self) -> None:
        """Take what has arrived; another frame than the expected one is passed over."""
        try:
            data = self._receive(READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        now, expected = time.perf_counter(), self._expected
        if self._rest:
            data = self._rest + data
        while data:
            if data.startswith(expected):
                data = data[len(expected) :]
                self._tally.right += 1
                if (at := self.sent_at.popleft()) >= self._counted_from:
                    window = int((at - self._counted_from) / WINDOW_S)
                    self._tally.took_s[window].append(now - at)
            elif size := _size_of_other(data, expected):
                data = data[size:]
            else:
                break
        self._rest = data


def _size_of_other(data: bytes, expected: bytes) -> int:
    """The size of the whole frame at the beginning of ``data`` if it is another one, or 0."""
    if len(data) < 4 or expected.startswith(data[: len(expected)]):
        return 0
    size, at = data[1] & 0x7F, 2
    if size == 126:
        size, at = int.from_bytes(data[2:4], "big"), 4
    whole = at + (4 if data[1] & 0x80 else 0) + size
    return whole if len(data) >= whole else 0


class _Play:
    def __init__(
        self,
        epoll: select.epoll,
        sessions: list[Session],
        seconds: float,
        warm_up_s: float,
        waited_s: Callable[[], float],
    ) -> None:
        windows = int((seconds + WAIT_S) / WINDOW_S)  # what is due at the end may be sent late
        self._epoll, self._sessions, self._waited_s = epoll, sessions, waited_s
        self._heard = Heard(Tally(windows), Tally(windows))
        self._window, self._waited_before = -1, 0.0
        self._began = time.perf_counter()
        self._counted_from = self._began + warm_up_s
        self._ends = self._counted_from + seconds
        self._frame_gap, self._burst_gap = FRAME_S / len(sessions), BURST_S / len(sessions)
        self._backlog_max = max(100, int(BACKLOG_S / self._frame_gap))
        self._readers: dict[int, Callable[[], None]] = {}
        frames, bursts = self._heard.frames, self._heard.bursts
        self._up = [self._flow(one.provider, SPOKEN, frames) for one in sessions]
        self._down = [self._flow(one.client, BURST, bursts) for one in sessions]

    def _flow(self, end: socket.socket, expected: bytes, tally: Tally) -> _Flow:
        flow = _Flow(end, expected, tally, self._counted_from)
        self._readers[end.fileno()] = flow.read
        self._epoll.register(end, select.EPOLLIN)
        return flow

    def run(self) -> Heard:
        """Speak, and hear to the end, for a limited time, what is on its way then."""
        heard = self._heard
        try:
            while (now := time.perf_counter()) < self._ends:
                due = self._speak(now)
                self._listen(max(due - time.perf_counter(), GRAIN_S))
        except OverloadedError:
            heard.is_overloaded = True
        deadline = time.perf_counter() + WAIT_S
        while heard.frames.on_the_way + heard.bursts.on_the_way and time.perf_counter() < deadline:
            self._listen(0.1)
        for number in self._readers:
            self._epoll.unregister(number)
        return heard

    def _speak(self, now: float) -> float:
        """Send everything that is due; when the next frame is."""
        heard, sessions, began = self._heard, self._sessions, self._began
        frames, bursts = heard.frames, heard.bursts
        while (due := began + frames.sent * self._frame_gap) <= now:
            number = frames.sent % len(sessions)
            at = time.perf_counter()
            self._up[number].sent_at.append(at)
            _send(sessions[number].client, SPOKEN)
            frames.sent += 1
            if at >= self._counted_from:
                self._note(int((at - self._counted_from) / WINDOW_S), at - due)
        while began + bursts.sent * self._burst_gap <= now:
            number = bursts.sent % len(sessions)
            self._down[number].sent_at.append(time.perf_counter())
            self._burst(sessions[number])
            bursts.sent += 1
        if frames.on_the_way > self._backlog_max:
            raise OverloadedError
        return due

    def _note(self, window: int, late_s: float) -> None:
        if window != self._window:
            waited_s = self._waited_s()
            if self._window >= 0:
                self._heard.waited_s[self._window] = waited_s - self._waited_before
            self._window, self._waited_before = window, waited_s
        self._heard.late_s[window] = max(self._heard.late_s[window], late_s)

    def _burst(self, session: Session) -> None:
        session.bursts += 1
        if session.bursts % BURSTS_PER_RESPONSE != 1:
            _send(session.provider, BURST)
            return
        response = {"id": f"resp_{next(_RESPONSES)}", "status": "completed", "usage": TOKENS}
        done = frame(TEXT, event("response.done", response=response), is_masked=False)
        _send(session.provider, BURST + done)
        self._heard.tokens += TOKENS["total_tokens"]

    def _listen(self, wait_s: float) -> None:
        # select waits, because epoll's own timeouts are whole milliseconds
        select.select([self._epoll], [], [], wait_s)
        for number, _ in self._epoll.poll(0):
            self._readers[number]()


def _send(end: socket.socket, data: bytes) -> None:
    try:
        sent = end.send(data)
    except (BlockingIOError, ssl.SSLWantWriteError):
        raise OverloadedError from None
    if sent != len(data):
        raise OverloadedError


def _leave(session: Session) -> None:
    for end, last in ((session.client, _LEAVE), (session.provider, b"")):
        try:
            if last:
                end.send(last)
        except OSError:
            pass  # the relay was faster
        end.close()


def _read_until(
    connection: socket.socket, is_whole: Callable[[bytes], bool], data: bytes = b""
) -> bytes:
    while not is_whole(data):
        more = connection.recv(READ_BYTES)
        assert more, f"ended after {data!r}"
        data += more
    return data
