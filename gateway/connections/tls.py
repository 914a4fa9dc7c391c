"""TLS that behaves like TCP: what a connection may expect of its transport stays true.

``TlsConnection`` sits between a TCP transport and a connection: to the first it is the protocol, to
the second the transport. It exists because the event loop's own TLS transport differs from TCP
where it costs usage: while reading is paused, it throws away what has arrived when the peer closes
the connection, a ``response.done`` for a slow client among it. It also has no half-close, tells
nobody of a handshake that failed, and writes to the log when a peer is gone. Here

* pausing pauses TCP, so that everything that came before the end is read before the end;
* ``write_eof`` closes our direction and leaves the other one open;
* ``connection_lost`` reaches the connection in any case, also when the handshake never ended;
* an end without close_notify is an end, as a FIN is in TCP. WebSocket frames have lengths and the
  close handshake says whether the end was meant: a cut-off message is never taken for a whole one.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Iterable
from typing import Any, Final, cast

from gateway.connections.request_reader import TLS_RECORD
from gateway.http.refusals import bad_request
from gateway.limits import HANDSHAKE_S

_READ_BYTES: Final = 256 * 1024


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
        self._inner = connection
        self._is_server = server_hostname is None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=self._is_server,
            server_hostname=server_hostname,
        )
        self._tcp: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._failure: Exception | None = None  # why the handshake failed
        self._is_open = False  # the handshake is done
        self._is_reading_paused = False
        self._has_received = self._has_sent_end = False
        self._has_received_end = self._has_told_end = False
        self._stays_open = False  # the connection wants to write after the peer's end

    # --- for the event loop -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TCP is there: begin the handshake, which has a deadline."""
        self._tcp = cast(asyncio.Transport, transport)
        self._timer = asyncio.get_running_loop().call_later(HANDSHAKE_S, self.abort)
        if not self._is_server:
            self._shake_hands()

    def data_received(self, data: bytes) -> None:
        """The handshake first, then the connection's bytes."""
        if self._failure is not None or self._has_received_end:
            return
        if self._is_server and not self._has_received and data[0] != TLS_RECORD:
            self._answer_in_plain()
            return
        self._has_received = True
        self._incoming.write(data)
        if not self._is_open:
            self._shake_hands()
        if self._is_open:
            self._read()

    def eof_received(self) -> bool:
        """TCP's end; a true answer keeps our direction open."""
        if not self._is_open:
            return False
        self._has_received_end = True
        self._tell_end()
        return self._stays_open

    def pause_writing(self) -> None:
        """The peer does not keep up."""
        if self._is_open:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """The peer has caught up."""
        if self._is_open:
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Told to the connection, also when it never heard of the connection."""
        if self._timer is not None:
            self._timer.cancel()
        self._tcp = None
        self._has_told_end = True
        self._inner.connection_lost(self._failure or exc)

    # --- for the connection -----------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send."""
        self.writelines((data,))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Encrypt and send with one system call."""
        if self._has_sent_end or self.is_closing():
            return
        for data in list_of_data:
            self._tls.write(data)  # whole: the buffer behind it has no bound of its own
        self._send()

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
        if self._has_received_end and not self._has_told_end:
            asyncio.get_running_loop().call_soon(self._end)

    def can_write_eof(self) -> bool:
        """Unlike with the event loop's TLS."""
        return True

    def write_eof(self) -> None:
        """Say that nothing more will come; the peer may go on."""
        self._send_end()
        self._half_close()

    def close(self) -> None:
        """Send what waits, say goodbye and close."""
        self._send_end()
        if self._tcp is not None:
            self._tcp.close()

    def abort(self) -> None:
        """Cut the connection now."""
        if self._tcp is not None:
            self._tcp.abort()

    def is_closing(self) -> bool:
        """Whether nothing can be written any more."""
        return self._tcp is None or self._tcp.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """About the connection underneath."""
        return default if self._tcp is None else self._tcp.get_extra_info(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """TCP's own: encrypted bytes wait there and nowhere else."""
        if self._tcp is not None:
            self._tcp.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Bytes that TCP has not taken yet."""
        return 0 if self._tcp is None else self._tcp.get_write_buffer_size()

    # --- helpers ----------------------------------------------------------------------------------

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._send()
        except ssl.SSLError as exc:
            self._fail(exc)
        else:
            assert self._timer is not None
            self._timer.cancel()
            self._send()
            self._is_open = True
            self._inner.connection_made(self)

    def _fail(self, exc: Exception) -> None:
        """Send the alert that says why.

        A server leaves the rest to the client, within the deadline of the handshake: closing on
        unread bytes would reset the connection, and the alert might never be seen.
        """
        self._failure = exc
        self._send()
        if self._is_server:
            self._half_close()
        elif self._tcp is not None:
            self._tcp.close()

    def _answer_in_plain(self) -> None:
        """A client that speaks HTTP here is told so in HTTP: an alert would mean nothing to it."""
        assert self._tcp is not None
        self._failure = ssl.SSLError("found no TLS")
        message = "this port speaks TLS; use https:// or wss://"
        self._tcp.write(bad_request(message, code="tls_required").response().serialize())
        self._half_close()

    def _half_close(self) -> None:
        if self._tcp is not None and not self._tcp.is_closing():
            self._tcp.write_eof()

    def _read(self) -> None:
        chunks: list[bytes] = []
        try:
            # Asking what is pending spares most reads that only raise SSLWantReadError.
            while self._incoming.pending or self._tls.pending():
                chunk = self._tls.read(_READ_BYTES)
                if not chunk:  # close_notify
                    self._has_received_end = True
                    break
                chunks.append(chunk)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as exc:
            self._failure = exc
        self._send()  # the answer to a key update, or an alert
        if chunks:
            self._inner.data_received(chunks[0] if len(chunks) == 1 else b"".join(chunks))
        if self._failure is not None:
            self.abort()
        elif self._has_received_end and not self._is_reading_paused:
            self._end()

    def _end(self) -> None:
        """The peer's close_notify, once the connection has heard everything before it."""
        self._tell_end()
        if not self._stays_open:
            self.close()

    def _tell_end(self) -> None:
        if not self._has_told_end:
            self._has_told_end = True
            self._stays_open = bool(self._inner.eof_received())

    def _send_end(self) -> None:
        if self._has_sent_end or not self._is_open or self.is_closing():
            return
        self._has_sent_end = True
        with contextlib.suppress(ssl.SSLError):  # it waits for the peer's; ours is on its way
            self._tls.unwrap()
        self._send()

    def _send(self) -> None:
        if self._outgoing.pending and not self.is_closing():
            assert self._tcp is not None
            self._tcp.write(self._outgoing.read())
