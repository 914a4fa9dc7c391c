"""The connection to a client: a WebSocket server's opening handshake, or a plain HTTP exchange."""

import asyncio
import contextlib
import math
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import Enum, auto
from typing import Final, Protocol

from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from gateway.connections.connection import Connection, Discard
from gateway.connections.receive_queue import Pause
from gateway.http.answers import Download
from gateway.http.exchange import (
    HEAD_END,
    REALTIME_SUBPROTOCOL,
    Exchange,
    HttpRequest,
    is_handshake,
)
from gateway.http.refusals import Refusal, bad_request
from gateway.limits import (
    CATCH_UP_S,
    CLOSE_S,
    DOWNLOAD_HIGH_WATER_BYTES,
    HANDSHAKE_BYTES_MAX,
    HANDSHAKE_S,
    STALLED_S,
    UNSENT_BYTES_MAX,
)

# RFC 8446 section 5.1: what TLS begins with, and no HTTP method does.
TLS_RECORD: Final = 22


class Phase(Enum):
    """How far the opening handshake is."""

    REQUEST = auto()  # reading the request's head
    BODY = auto()  # reading the rest of a request that asks for no WebSocket
    ADMISSION = auto()  # the gateway decides; nothing is read
    UPGRADED = auto()  # frames
    ANSWERED = auto()  # a plain HTTP answer was sent; the connection closes


class ConnectionHandler(Protocol):
    """Who decides about clients."""

    def handshake_received(self, connection: "Downstream", request: Request) -> None:
        """A handshake arrived on ``connection``: upgrade it or answer it, now or later."""

    def request_received(self, connection: "Downstream", request: HttpRequest) -> None:
        """A plain HTTP request arrived on ``connection``: answer it, now or later."""

    def connection_closed(self, connection: "Downstream") -> None:
        """The connection of ``connection`` is closed."""


class Downstream(Connection):
    """A connection from a client."""

    def __init__(self, handler: ConnectionHandler) -> None:
        self._server_protocol = ServerProtocol(select_subprotocol=_select_subprotocol)
        super().__init__(self._server_protocol, expects_mask=True, sink=Discard())
        self._handler = handler
        self._head = bytearray()
        self._exchange: Exchange | None = None
        self._phase = Phase.REQUEST
        self._handshake_timer = self._loop.call_later(HANDSHAKE_S, self.abort)
        self._catches_up_by: float | None = None  # when it must have come to our close
        self._unsent: float = math.inf  # what it had not taken when that was last looked at
        self._room: asyncio.Event | None = None  # for more of a file; or nobody is there for it
        self._has_all = False  # all of the answer was written
        self._is_watched = False
        self.is_waited_for = False  # by a gateway that stops
        self.answer_headers: Mapping[str, str] = {}  # of a plain answer, beside its own

    @property
    def is_waiting(self) -> bool:
        """Whether the client still waits for its answer."""
        return self._phase is Phase.ADMISSION and self._transport is not None

    @property
    def is_voice(self) -> bool:
        """Whether the client has a session, or waits for one, or for what a call depends on."""
        is_asking = self._exchange is None or self.is_waited_for
        return self._phase is Phase.UPGRADED or (self.is_waiting and is_asking)

    def accept(self, request: Request) -> Response:
        """The answer that would upgrade ``request``; its status is not 101 if it cannot be."""
        return self._server_protocol.accept(request)

    def why_not(self) -> str:
        """Why ``accept`` would not upgrade."""
        return str(self._server_protocol.handshake_exc)

    def upgrade(self, response: Response) -> None:
        """Send the answer of ``accept``: from here on there are frames."""
        self._phase = Phase.UPGRADED
        self._server_protocol.send_response(response)
        self._flush()

    def start_reading(self) -> None:
        """Take frames: the sink is in place."""
        self.resume(Pause.ADMISSION)
        rest, self._head = bytes(self._head), bytearray()
        if rest:
            super().data_received(rest)

    def watch(self) -> None:
        """Notice when the client leaves before it is answered.

        What it sends is dropped; one that closes its direction alone has left, too.
        """
        if self.is_waiting:
            self._is_watched = True
            self.resume(Pause.ADMISSION)

    def answer(self, response: Response) -> None:
        """Send a plain HTTP answer and close."""
        if self._transport is None:
            return
        self._begin_answer()
        if self._exchange is not None and self._exchange.is_head:
            response = replace(response, body=b"")
        response.headers.update(self.answer_headers)
        self._transport.write(response.serialize())
        self._end_answer()

    async def download(self, download: Download) -> None:
        """Send an answer piece by piece, no faster than the client takes it, and close.

        Where that cannot go on to the end, whatever the reason, the connection is reset: its mere
        end would be the file's end to a client of HTTP/1.0. Raises what ``download.pieces`` raises.
        """
        assert self._exchange is not None
        self._room = asyncio.Event()
        self._room.set()
        async with contextlib.aclosing(download.pieces) as pieces:
            if self._transport is None:
                return
            self._begin_answer()
            self._transport.set_write_buffer_limits(high=DOWNLOAD_HIGH_WATER_BYTES)
            self._reset_when_cut(True)
            try:
                self._send_part(self._exchange.begin(download.headers))
                async for piece in pieces:
                    self._send_part(self._exchange.piece(piece))
                    await self._room.wait()
                    self._liveness.heard_at = self._loop.time()  # what takes bytes is there
                    if self._is_gone:
                        return
                self._send_part(self._exchange.end())
            except BaseException:
                self.abort()
                raise
            self._end_answer()

    def abort(self) -> None:
        """Cut the connection now; an answer that was not taken whole must not seem to be."""
        if self._phase is Phase.ANSWERED and not self._is_taken:
            self._reset_when_cut(True)
        super().abort()

    def check(self, now: float) -> None:
        """Called every second."""
        if self._phase is Phase.ANSWERED:
            self._check_answer(now)
        else:
            super().check(now)

    # --- for the event loop -----------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Called by the event loop: the request first, frames after the upgrade."""
        if self._phase is Phase.UPGRADED:
            super().data_received(data)
        elif self._phase is not Phase.ANSWERED and not self._is_watched:
            self._head += data
            if self._phase is Phase.REQUEST and self._head[0] == TLS_RECORD:
                # Nothing that ends a request will ever come: do not let the client wait for it.
                self._refuse("this port speaks plain HTTP; use http:// or ws://", "no_tls_here")
            elif self._phase is Phase.REQUEST:
                self._receive_head()
            elif self._phase is Phase.BODY:
                self._receive_rest()

    def eof_received(self) -> bool:
        """Called by the event loop; a true answer keeps our direction open."""
        if self._phase is Phase.UPGRADED:
            return super().eof_received()
        return self._phase is Phase.ADMISSION and not self._is_watched

    def pause_writing(self) -> None:
        """Called by the event loop when the client does not keep up."""
        if self._room is not None:
            self._room.clear()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Called by the event loop when the client has caught up."""
        super().resume_writing()
        if self._room is not None:
            self._room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        self._handshake_timer.cancel()
        super().connection_lost(exc)
        if self._room is not None:
            self._room.set()
        self._handler.connection_closed(self)

    # --- helpers ----------------------------------------------------------------------------------

    def _close_overdue(self) -> None:
        """A client that still talks, or takes, plays what was said before our close.

        Closing on what it says would reset the connection, and cost it the rest.
        """
        now = self._loop.time()
        if self._catches_up_by is None:
            self._catches_up_by = now + CATCH_UP_S - CLOSE_S
        unsent = 0 if self._transport is None else self._transport.get_write_buffer_size()
        is_taking, self._unsent = 0 < unsent < self._unsent, unsent
        is_alive = is_taking or now - self._liveness.heard_at < CLOSE_S
        if is_alive and now < self._catches_up_by:
            self._close_timer = self._loop.call_later(CLOSE_S, self._close_overdue)
        else:
            self.abort()

    def _receive_head(self) -> None:
        end = self._head.find(HEAD_END)
        if end < 0 and len(self._head) <= HANDSHAKE_BYTES_MAX:
            return
        if not 0 <= end <= HANDSHAKE_BYTES_MAX:
            self._refuse(f"request head over {HANDSHAKE_BYTES_MAX} bytes", "headers_too_large")
            return
        cut = end + len(HEAD_END)
        if not is_handshake(bytes(self._head[:cut])):
            self._phase, self._exchange = Phase.BODY, Exchange()
            self._receive_rest()
            return
        head, self._head = bytes(self._head[:cut]), self._head[cut:]
        # Only the head: what follows it are frames, which are ours to scan.
        self._server_protocol.receive_data(head)
        events = self._server_protocol.events_received()
        if self._server_protocol.handshake_exc is not None or not events:
            cause = self._server_protocol.handshake_exc
            self._refuse(str(cause.__cause__ or cause) if cause else "not an HTTP request")
            return
        request = events[0]
        assert isinstance(request, Request)
        self._phase = Phase.ADMISSION
        self._handshake_timer.cancel()
        self.pause(Pause.ADMISSION)
        self._handler.handshake_received(self, request)

    def _receive_rest(self) -> None:
        """A request with its body, within the deadline of a handshake."""
        assert self._exchange is not None
        data, self._head = bytes(self._head), bytearray()
        found = self._exchange.receive(data)
        if self._transport is not None and (wanted := self._exchange.data_to_send()):
            self._transport.write(wanted)
        if isinstance(found, Refusal):
            self.answer(found.response())
        elif found is not None:
            self._phase = Phase.ADMISSION
            self._handshake_timer.cancel()
            self.pause(Pause.ADMISSION)
            self._handler.request_received(self, found)

    @property
    def _is_gone(self) -> bool:
        return self._transport is None

    @property
    def _is_taken(self) -> bool:
        """Whether the client was sent all of its answer."""
        is_sent = self._transport is None or not self._transport.get_write_buffer_size()
        return self._has_all and is_sent

    def _begin_answer(self) -> None:
        self._phase = Phase.ANSWERED
        self._handshake_timer.cancel()
        assert self._transport is not None
        # What the kernel holds unsent beside our own buffer: by default megabytes, and then neither
        # is bounded nor is it seen for minutes that a slow client takes anything.
        connection = self._transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES_MAX)

    def _send_part(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _end_answer(self) -> None:
        """Close our direction.

        What the client still sends is read and dropped for a while: closing on unread bytes would
        reset the connection, and the client might never see the answer.
        """
        if self._transport is None:
            return
        self._has_all = True
        self._reset_when_cut(False)
        self._half_close()
        self.resume(Pause.ADMISSION)
        self._liveness.heard_at = self._loop.time()
        self._check_answer(self._liveness.heard_at)

    def _check_answer(self, now: float) -> None:
        """Cut the connection ``CLOSE_S`` after all of the answer left, or when nothing of it was
        taken for ``STALLED_S``.
        """
        if self._transport is None:
            return
        unsent, before = self._transport.get_write_buffer_size(), self._unsent
        self._unsent = unsent
        if not unsent or unsent < before:
            self._liveness.heard_at = now
        if now - self._liveness.heard_at > STALLED_S:
            self.abort()
        elif self._is_taken and self._close_timer is None:
            self._close_timer = self._loop.call_later(CLOSE_S, self.abort)

    def _reset_when_cut(self, is_so: bool) -> None:
        """Whether ``abort`` is to reset the connection, or to end it like any other."""
        if self._transport is not None:
            connection = self._transport.get_extra_info("socket")
            linger = struct.pack("ii", is_so, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    def _refuse(self, message: str, code: str = "bad_request") -> None:
        self._head.clear()
        self.answer(bad_request(message, code=code).response())


def _select_subprotocol(
    _protocol: ServerProtocol, offered: Sequence[Subprotocol]
) -> Subprotocol | None:
    """Only ``realtime``: a browser wants an answer, but the key among the offers is no answer."""
    name = Subprotocol(REALTIME_SUBPROTOCOL)
    return name if name in offered else None
