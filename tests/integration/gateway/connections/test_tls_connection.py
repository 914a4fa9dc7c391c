"""TLS behaves like TCP: one connection on a real socket, against the standard library's TLS."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvloop

from gateway.connections.certificate import load
from gateway.connections.tls import TlsConnection
from tests.support.certificates import Pem
from tests.support.peers import until

SECONDS = 10


@dataclass
class Recorded(asyncio.Protocol):
    """A connection that records what its transport calls."""

    stays_open: bool = False
    data: bytes = b""
    events: list[str] = field(default_factory=list)
    on_data: Callable[[], None] = lambda: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open."""
        self.events.append("made")

    def data_received(self, data: bytes) -> None:
        """Bytes."""
        self.data += data
        self.on_data()

    def eof_received(self) -> bool:
        """The peer's bytes have ended."""
        self.events.append("eof")
        return self.stays_open

    def pause_writing(self) -> None:
        """The peer is slow."""
        self.events.append("pause")

    def resume_writing(self) -> None:
        """The peer has caught up."""
        self.events.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        """The end."""
        self.events.append(type(exc).__name__ if exc else "lost")


@dataclass
class Pair:
    """A TLS connection, what it called on the connection above it, and the peer's end."""

    connection: TlsConnection
    recorded: Recorded
    peer: ssl.SSLSocket


@pytest.fixture
def pem(tmp_path: Path) -> Pem:
    """A certificate."""
    return Pem.make(tmp_path)


@asynccontextmanager
async def paired(pem: Pem) -> AsyncIterator[Pair]:
    """A server's connection after the handshake, over real TCP."""
    connection, recorded, raw = await accept(pem)
    peer = await asyncio.to_thread(pem.trusting().wrap_socket, raw, server_hostname="localhost")
    await until(lambda: recorded.events == ["made"])
    take_tickets(peer)
    try:
        yield Pair(connection, recorded, peer)
    finally:
        peer.close()
        connection.abort()
        await until(lambda: recorded.events[-1] not in ("made", "eof", "pause", "resume"))


@pytest.fixture
async def pair(pem: Pem) -> AsyncIterator[Pair]:
    """The same for a test's whole time."""
    async with paired(pem) as made:
        yield made


async def accept(pem: Pem) -> tuple[TlsConnection, Recorded, socket.socket]:
    """A server's connection before the handshake, and the peer's socket."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        raw = socket.create_connection(listener.getsockname(), timeout=SECONDS)
        ours, _ = listener.accept()
    recorded = Recorded()
    connection = TlsConnection(recorded, load(pem.cert, pem.key).context)
    loop = asyncio.get_running_loop()
    await loop.connect_accepted_socket(lambda: connection, ours)
    return connection, recorded, raw


def take_tickets(peer: ssl.SSLSocket) -> None:
    """Read what the server sends after the handshake: closing on unread bytes is a reset."""
    peer.setblocking(False)
    with pytest.raises(ssl.SSLWantReadError):
        peer.recv(1)
    peer.settimeout(SECONDS)


def say_goodbye(peer: ssl.SSLSocket) -> None:
    """close_notify without waiting for the other one, as many servers do before they close."""
    peer.setblocking(False)
    with pytest.raises(ssl.SSLWantReadError):
        peer.unwrap()
    peer.settimeout(SECONDS)


@pytest.mark.parametrize("is_polite", [True, False])
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_what_came_before_the_end_is_read_before_the_end(
    pem: Pem, loop: Callable[[], asyncio.AbstractEventLoop], is_polite: bool
) -> None:
    """Also when reading was paused: usage may stand in what a provider said last."""

    async def scenario() -> None:
        async with paired(pem) as pair:
            pair.connection.pause_reading()
            await asyncio.to_thread(pair.peer.sendall, b"x" * 100_000 + b"usage")
            if is_polite:
                say_goodbye(pair.peer)
            pair.peer.close()
            await asyncio.sleep(0.1)
            assert (pair.recorded.data, pair.recorded.events) == (b"", ["made"]), (
                "it does not listen"
            )
            pair.connection.resume_reading()
            await until(lambda: pair.recorded.events == ["made", "eof", "lost"])
            assert pair.recorded.data == b"x" * 100_000 + b"usage"

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(scenario())


async def test_an_end_that_arrives_with_data_after_which_reading_pauses_is_reported_later(
    pair: Pair,
) -> None:
    """A connection that pauses reading in ``data_received`` gets the end after it has resumed."""
    pair.recorded.on_data = pair.connection.pause_reading
    await asyncio.to_thread(pair.peer.sendall, b"request")
    say_goodbye(pair.peer)
    await asyncio.sleep(0.1)
    assert pair.recorded.events == ["made"]
    pair.connection.resume_reading()
    await until(lambda: pair.recorded.events == ["made", "eof"] or "lost" in pair.recorded.events)
    assert pair.recorded.events[:2] == ["made", "eof"]


async def test_half_close_leaves_the_other_direction_open(pair: Pair) -> None:
    """After the last byte of ours the peer can still be heard, and the reverse."""
    pair.recorded.stays_open = True
    pair.connection.write(b"answer")
    pair.connection.write_eof()
    pair.connection.write(b"too late")
    assert await asyncio.to_thread(pair.peer.recv, 100) == b"answer"
    assert await asyncio.to_thread(pair.peer.recv, 100) == b"", "close_notify"
    await asyncio.to_thread(pair.peer.sendall, b"still here")
    await until(lambda: pair.recorded.data == b"still here")


async def test_the_peers_end_does_not_stop_us(pair: Pair) -> None:
    """A client may say that it has asked everything, and wait for the answer."""
    pair.recorded.stays_open = True
    say_goodbye(pair.peer)
    await until(lambda: pair.recorded.events == ["made", "eof"])
    pair.connection.write(b"answer" * 50_000)
    heard = b""
    while len(heard) < 300_000:
        piece = await asyncio.to_thread(pair.peer.recv, 65_536)
        assert piece, "the answer was cut short"
        heard += piece
    assert heard == b"answer" * 50_000
    pair.connection.close()
    await until(lambda: pair.recorded.events[-1] == "lost")


async def test_a_slow_reader_pauses_writing_and_nothing_is_lost(pair: Pair) -> None:
    """TCP's own marks count, in encrypted bytes."""
    pair.connection.set_write_buffer_limits(high=100_000)
    written = b""
    while "pause" not in pair.recorded.events:
        pair.connection.writelines([b"a" * 30_000, b"", b"b" * 30_000])
        written += b"a" * 30_000 + b"b" * 30_000
        await asyncio.sleep(0)
    assert pair.connection.get_write_buffer_size() > 100_000
    heard = b""
    while len(heard) < len(written):
        heard += await asyncio.to_thread(pair.peer.recv, 65_536)
    await until(lambda: "resume" in pair.recorded.events)
    assert heard == written
    assert pair.connection.get_write_buffer_size() == 0


async def test_a_forged_record_cuts_the_connection(pair: Pair) -> None:
    """What does not decrypt was not sent by the peer."""
    await asyncio.to_thread(pair.peer.sendall, b"true")
    with socket.socket(fileno=pair.peer.detach()) as raw:
        raw.sendall(b"\x17\x03\x03\x00\x20" + b"f" * 32)
        await until(lambda: pair.recorded.events == ["made", "SSLError"])
    assert pair.recorded.data == b"true"


async def test_a_handshake_that_takes_too_long_is_cut(
    pem: Pem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``connection_lost`` is called although ``connection_made`` never was."""
    monkeypatch.setattr("gateway.connections.tls.HANDSHAKE_S", 0.05)
    _, recorded, raw = await accept(pem)
    with raw:
        raw.sendall(b"\x16\x03\x01")
        await until(lambda: recorded.events)
    assert recorded.events == ["lost"]


@pytest.mark.parametrize("sent", [b"\x16\x03\x01\x00\x05soup!", b"GET / HTTP/1.1\r\n\r\n", b""])
async def test_a_handshake_that_fails_is_reported(pem: Pem, sent: bytes) -> None:
    """An alert or an answer in plain HTTP to the peer, the reason to the recorded."""
    _, recorded, raw = await accept(pem)
    with raw:
        raw.sendall(sent)
        raw.shutdown(socket.SHUT_WR)
        answer = await asyncio.to_thread(raw.recv, 65_536)
        await until(lambda: recorded.events)
    assert answer[:5] in (b"\x15\x03\x01\x00\x02", b"\x15\x03\x03\x00\x02", b"HTTP/", b"")
    assert bool(answer) is bool(sent)
    assert recorded.events == ["SSLError" if sent else "lost"]


async def test_the_certificate_is_proven_to_a_client_of_ours(pem: Pem, tmp_path: Path) -> None:
    """As a client it checks name and issuer, and says what was wrong."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(asyncio.to_thread(serve_once, listener, pem))
        recorded = Recorded()
        await asyncio.get_running_loop().create_connection(
            lambda: TlsConnection(recorded, pem.trusting(), server_hostname="example.org"),
            *listener.getsockname(),
        )
        await until(lambda: recorded.events)
        await serving
    assert recorded.events == ["SSLCertVerificationError"]


def serve_once(listener: socket.socket, pem: Pem) -> None:
    """A server of the standard library whose client leaves during the handshake."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem.cert, pem.key)
    with listener.accept()[0] as raw, pytest.raises(ssl.SSLError):
        context.wrap_socket(raw, server_side=True).recv(1)
