"""TLS that behaves like TCP: what a connection may expect of its transport stays true.

``TlsConnection`` sits between a TCP transport and a ``Connection``: to the first it is the
protocol, to the second the transport. It exists because the event loop's own TLS transport differs
from TCP where it costs usage: while reading is paused, it throws away what has arrived when the
peer closes the connection, a ``response.done`` for a slow client among it (findings/
uvloop-tls-paused-close.sh). It also has no half-close, does not report a handshake that failed, and
writes to the log when a peer is gone. Here

* pausing pauses TCP, so that everything that came before the end is read before the end;
* ``write_eof`` closes our direction and leaves the other one open;
* ``connection_lost`` is called in any case, also when the handshake never ended;
* an end without close_notify is an end, as a FIN is in TCP. WebSocket frames have lengths and the
  close handshake says whether the end was meant: a cut-off message is never taken for a whole one.
"""

import asyncio
import ssl
from collections.abc import Iterable
from enum import Enum, auto
from typing import Any, Final, cast

from gateway.connections.request_reader import TLS_RECORD
from gateway.connections.tls_codec import TlsCodec
from gateway.http.refusals import bad_request
from gateway.limits import HANDSHAKE_S
from shared.state_machine import advance


class TLSPhase(Enum):
    """How far TLS is."""

    SILENT = auto()  # a server to which the client has sent nothing yet
    HANDSHAKE = auto()
    OPEN = auto()
    FAILED = auto()  # no TLS, a handshake that failed, or a record that cannot be read


TRANSITIONS: Final = {
    TLSPhase.SILENT: {TLSPhase.HANDSHAKE, TLSPhase.FAILED},
    TLSPhase.HANDSHAKE: {TLSPhase.OPEN, TLSPhase.FAILED},
    TLSPhase.OPEN: {TLSPhase.FAILED},
    TLSPhase.FAILED: set[TLSPhase](),
}


class PeerEnd(Enum):
    """Where the end of the peer's bytes is."""

    AHEAD = auto()  # more bytes may come
    RECEIVED = auto()  # here, and to be reported when reading is not paused
    REPORTED = auto()  # the connection knows


# Module constants, for every read and write: an attribute of an enum class costs more.
_OPEN: Final = TLSPhase.OPEN
_AHEAD: Final = PeerEnd.AHEAD


class TlsConnection(asyncio.Transport, asyncio.Protocol):
    """TLS over one TCP connection, for one connection."""

    def __init__(
        self,
        connection: asyncio.Protocol,
        context: ssl.SSLContext,
        *,
        server_hostname: str | None = None,
    ) -> None:
        """As a client to ``server_hostname``, as a server when there is none."""
        super().__init__()
        self._connection = connection
        self._is_server = server_hostname is None
        self._codec = TlsCodec(context, server_hostname)
        self._tcp: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._failure: Exception | None = None
        self._phase = TLSPhase.SILENT
        self._peer_end = PeerEnd.AHEAD
        self._is_reading_paused = False
        self._has_sent_end = False
        self._stays_open = False  # the connection wants to write after the peer's end

    # --- for the event loop -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TCP is there: begin the handshake, which has a deadline."""
        self._tcp = cast(asyncio.Transport, transport)
        self._timer = asyncio.get_running_loop().call_later(HANDSHAKE_S, self.abort)
        if not self._is_server:
            self._move(TLSPhase.HANDSHAKE)
            self._go_on_with_handshake(b"")

    def data_received(self, data: bytes) -> None:
        """The handshake first, then the connection's bytes."""
        if self._phase is _OPEN:
            if self._peer_end is _AHEAD:
                self._read(data)
        elif self._expects_handshake(data):
            self._go_on_with_handshake(data)

    def eof_received(self) -> bool:
        """TCP's end; a true answer keeps our direction open."""
        if self._phase is not _OPEN:
            return False
        self._report_end()
        return self._stays_open

    def pause_writing(self) -> None:
        """The peer does not keep up."""
        if self._phase is _OPEN:
            self._connection.pause_writing()

    def resume_writing(self) -> None:
        """The peer has caught up."""
        if self._phase is _OPEN:
            self._connection.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Passed on also to a connection whose ``connection_made`` was never called."""
        if self._timer is not None:
            self._timer.cancel()
        self._tcp = None
        self._peer_end = PeerEnd.REPORTED
        self._connection.connection_lost(self._failure or exc)

    # --- for the connection -----------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send."""
        self.writelines((data,))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Encrypt and send with one system call."""
        tcp = self._tcp
        if not (tcp is None or self._has_sent_end or tcp.is_closing()):
            tcp.write(self._codec.encrypt(list_of_data))

    def pause_reading(self) -> None:
        """Take nothing more from TCP; what was taken has been given to the connection."""
        self._is_reading_paused = True
        if self._tcp is not None:
            self._tcp.pause_reading()

    def resume_reading(self) -> None:
        """Take bytes again."""
        self._is_reading_paused = False
        if self._tcp is not None:
            self._tcp.resume_reading()
        if self._peer_end is PeerEnd.RECEIVED:
            asyncio.get_running_loop().call_soon(self._end)

    def can_write_eof(self) -> bool:
        """True, unlike for the event loop's TLS."""
        return True

    def write_eof(self) -> None:
        """Close our direction; the peer may go on."""
        self._send_end()
        self._half_close()

    def close(self) -> None:
        """Send what waits, then close_notify, and close."""
        self._send_end()
        if self._tcp is not None:
            self._tcp.close()

    def abort(self) -> None:
        """Cut the connection now."""
        if self._tcp is not None:
            self._tcp.abort()

    @property
    def is_connected(self) -> bool:
        """Whether TCP is there."""
        return self._tcp is not None

    def is_closing(self) -> bool:
        """Whether nothing can be written any more."""
        return self._tcp is None or self._tcp.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """About the TCP connection."""
        return default if self._tcp is None else self._tcp.get_extra_info(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """TCP's own: encrypted bytes wait there and nowhere else."""
        if self._tcp is not None:
            self._tcp.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Bytes that TCP has not taken yet."""
        return 0 if self._tcp is None else self._tcp.get_write_buffer_size()

    # --- the handshake ----------------------------------------------------------------------------

    def _expects_handshake(self, data: bytes) -> bool:
        """Whether ``data`` belongs to a handshake; a client's first bytes show if it speaks TLS."""
        if self._phase is TLSPhase.SILENT:
            if data[0] != TLS_RECORD:
                self._answer_in_plain()
                return False
            self._move(TLSPhase.HANDSHAKE)
        return self._phase is TLSPhase.HANDSHAKE

    def _go_on_with_handshake(self, data: bytes) -> None:
        try:
            is_done = self._codec.handshake(data)
        except ssl.SSLError as exc:
            self._fail(exc)
            return
        self._send()
        if is_done:
            assert self._timer is not None
            self._timer.cancel()
            self._move(TLSPhase.OPEN)
            self._connection.connection_made(self)
            self._read(b"")  # what came behind the handshake

    def _fail(self, exc: Exception) -> None:
        """Send the alert that says why.

        A server leaves the rest to the client, within the deadline of the handshake: closing on
        unread bytes would reset the connection, and the client might never see the alert.
        """
        self._failure = exc
        self._move(TLSPhase.FAILED)
        self._send()
        if self._is_server:
            self._half_close()
        elif self._tcp is not None:
            self._tcp.close()

    def _answer_in_plain(self) -> None:
        """Answer a client that speaks plain HTTP in HTTP: it would not understand an alert."""
        assert self._tcp is not None
        self._failure = ssl.SSLError("found no TLS")
        self._move(TLSPhase.FAILED)
        message = "this port speaks TLS; use https:// or wss://"
        self._tcp.write(bad_request(message, code="tls_required").response().serialize())
        self._half_close()

    # --- the open connection ----------------------------------------------------------------------

    def _read(self, data: bytes) -> None:
        codec = self._codec
        plain = codec.decrypt(data)
        if codec.has_end:
            self._peer_end = PeerEnd.RECEIVED
        if codec.outgoing.pending:
            self._send()  # the answer to a key update, or an alert
        if plain:
            self._connection.data_received(plain)
        if codec.failure is not None:
            self._failure = codec.failure
            self._move(TLSPhase.FAILED)
            self.abort()
        elif self._peer_end is not _AHEAD and not self._is_reading_paused:
            self._end()

    def _end(self) -> None:
        """The peer's close_notify, once the connection has received everything before it."""
        self._report_end()
        if not self._stays_open:
            self.close()

    def _report_end(self) -> None:
        if self._peer_end is not PeerEnd.REPORTED:
            self._peer_end = PeerEnd.REPORTED
            self._stays_open = bool(self._connection.eof_received())

    def _send_end(self) -> None:
        if self._has_sent_end or self._phase is not _OPEN or self.is_closing():
            return
        self._has_sent_end = True
        self._codec.close_notify()
        self._send()

    def _half_close(self) -> None:
        if self._tcp is not None and not self._tcp.is_closing():
            self._tcp.write_eof()

    def _send(self) -> None:
        if self._codec.outgoing.pending and not self.is_closing():
            assert self._tcp is not None
            self._tcp.write(self._codec.outgoing.read())

    def _move(self, phase: TLSPhase) -> None:
        self._phase = advance(TRANSITIONS, self._phase, phase)
