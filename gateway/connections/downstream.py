"""The connection to a client: a WebSocket server's opening handshake, or a plain HTTP exchange.

``server`` makes one for each client and decides, as its ``ConnectionHandler``, what becomes of the
request. The phases of a connection are a table (``TRANSITIONS``)::

    REQUEST ──▶ ADMISSION ──▶ UPGRADED
       │            ├──▶ WATCHED ──┐
       └────────────┴──────────────┴──▶ ANSWERED

``RequestReader`` reads the request, ``AnswerWriter`` writes a plain answer; once a connection is
upgraded it is a ``Connection``, and frames go to its sink.
"""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import replace
from enum import Enum, auto
from typing import Final, Protocol

from websockets.http11 import Request, Response

from gateway.connections.answer_writer import AnswerWriter
from gateway.connections.close import TRY_AGAIN_LATER
from gateway.connections.connection import Connection
from gateway.connections.held_bytes import UNFINISHED
from gateway.connections.liveness import CatchUp
from gateway.connections.receive_queue import Pause
from gateway.connections.request_reader import RequestReader
from gateway.connections.sink import Discard
from gateway.frame_scanner import Violation
from gateway.http.answers import Download
from gateway.http.exchange import Exchange, HttpRequest
from gateway.http.refusals import Refusal
from gateway.limits import CLOSE_S, FRAMES_A_TURN, HANDSHAKE_S, LEFTOVER_BYTES_MAX
from shared.state_machine import advance

_NO_HEADERS: Final[Mapping[str, str]] = {}


class RequestPhase(Enum):
    """How far the client's request is."""

    REQUEST = auto()  # reading it
    ADMISSION = auto()  # the handler decides; nothing is read
    WATCHED = auto()  # the handler decides; reading only to notice that the client has left
    UPGRADED = auto()  # frames
    ANSWERED = auto()  # a plain HTTP answer is being sent, or was; then the connection closes


TRANSITIONS: Final = {
    RequestPhase.REQUEST: {RequestPhase.ADMISSION, RequestPhase.ANSWERED},
    RequestPhase.ADMISSION: {RequestPhase.WATCHED, RequestPhase.UPGRADED, RequestPhase.ANSWERED},
    RequestPhase.WATCHED: {RequestPhase.ANSWERED},
    RequestPhase.UPGRADED: set[RequestPhase](),
    RequestPhase.ANSWERED: set[RequestPhase](),
}


class Carrier(Protocol):
    """What has the transport before the connection has it."""

    @property
    def is_connected(self) -> bool:
        """Whether it has one (still)."""

    def abort(self) -> None:
        """Cut the connection now, if there is one."""


class ConnectionHandler(Protocol):
    """Who decides about clients."""

    def handshake_received(self, connection: "Downstream", request: Request) -> None:
        """A handshake arrived on ``connection``: upgrade it or answer it, now or later."""

    def request_received(self, connection: "Downstream", request: HttpRequest) -> None:
        """A plain HTTP request arrived on ``connection``: answer it, now or later."""

    def unreadable_received(self, connection: "Downstream", refusal: Refusal) -> None:
        """What came on ``connection`` cannot be read: answer it so."""

    def connection_closed(self, connection: "Downstream") -> None:
        """``connection`` is closed."""


class Downstream(Connection):
    """A connection from a client."""

    __slots__ = (
        "_answer", "_catch_up", "_handler", "_handshake_timer", "_leftover", "_phase", "_reader",
        "_turn", "answer_headers", "caller", "carrier", "host", "outlasts_stop",
    )  # fmt: skip

    def __init__(self, handler: ConnectionHandler, caller: str = "", host: str = "") -> None:
        """``caller``: by what the client is counted (``callers.callers``); ``host``: the other end
        of the connection.
        """
        super().__init__(expects_mask=True, sink=Discard())
        self._handler = handler
        self._reader: RequestReader | None = RequestReader()  # None once there are frames
        self._answer: AnswerWriter | None = None
        self._phase = RequestPhase.REQUEST
        self._is_framed = False
        self._frames_a_turn = FRAMES_A_TURN
        self._turn: asyncio.Handle | None = None  # the next one, where it is behind
        self._leftover = 0  # bytes that came behind a request, and were dropped
        self._handshake_timer: asyncio.TimerHandle | None = self._loop.call_later(
            HANDSHAKE_S, self.abort
        )
        self._catch_up: CatchUp | None = None  # from when our close should have been answered
        self.caller = caller
        self.carrier: Carrier | None = None  # TLS, or a proxy's header, before there is a transport
        self.host = host
        self.outlasts_stop = False  # whether a gateway that stops waits for the answer
        self.answer_headers = _NO_HEADERS  # of a plain answer, beside its own

    @property
    def target(self) -> str:
        """What the first line of the request names; empty where that is not known."""
        return "" if self._reader is None else self._reader.target

    @property
    def is_waiting(self) -> bool:
        """Whether the client still waits for its answer."""
        is_undecided = self._phase in (RequestPhase.ADMISSION, RequestPhase.WATCHED)
        return is_undecided and self._transport is not None

    @property
    def is_passing(self) -> bool:
        """Whether the client has no session (yet)."""
        return self._phase is not RequestPhase.UPGRADED

    @property
    def is_dawdling(self) -> bool:
        """Whether the client takes its time, over its request or over reading an answer; and not
        the event loop, which has accepted it and not said so yet.
        """
        carrier = self.carrier
        is_there = self._transport is not None or (carrier is not None and carrier.is_connected)
        return is_there and self._phase in (RequestPhase.REQUEST, RequestPhase.ANSWERED)

    @property
    def is_voice(self) -> bool:
        """Whether the client has a session, or waits for one, or for what a call depends on."""
        is_for_voice = self._exchange is None or self.outlasts_stop
        return self._phase is RequestPhase.UPGRADED or (self.is_waiting and is_for_voice)

    # --- for the handler --------------------------------------------------------------------------

    def acceptance(self) -> bytes | Refusal:
        """The answer that would upgrade the client, or why it cannot be upgraded."""
        assert self._reader is not None
        return self._reader.acceptance(wall_s=int(time.time()))

    def upgrade(self, acceptance: bytes) -> None:
        """Send the ``acceptance``: from here on there are frames."""
        self._move(RequestPhase.UPGRADED)
        self._is_framed = True
        if self._transport is not None:
            self._transport.write(acceptance)

    def start_reading(self) -> None:
        """Deliver frames, beginning with those that came behind the handshake: the sink is set."""
        assert self._reader is not None
        rest = self._reader.rest
        self._reader.close()
        self._reader = None
        self.resume(Pause.ADMISSION)
        if rest:
            self.data_received(rest)

    def watch(self) -> None:
        """Notice when the client leaves before it is answered.

        What it sends is dropped. A client that closes its direction alone counts as gone, too.
        """
        if self.is_waiting:
            self._move(RequestPhase.WATCHED)
            self.resume(Pause.ADMISSION)

    def answer(self, response: Response) -> None:
        """Send a plain HTTP answer and close."""
        if self._transport is None:
            return
        writer = self._begin_answer(self._transport)
        if self._exchange is not None and self._exchange.is_head:
            response = replace(response, body=b"")
        response.headers.update(self.answer_headers)
        writer.write(response.serialize())
        self._finish_answer(writer)

    def make_room(self, response: Response) -> None:
        """Close now, for others: with this answer where none was begun. Whether the client takes it
        is not waited for.
        """
        if self._phase is not RequestPhase.REQUEST or self._transport is None:
            self.abort()
            return
        self._move(RequestPhase.ANSWERED)
        self._transport.write(response.serialize())
        self._transport.close()

    async def download(self, download: Download) -> None:
        """Send an answer piece by piece, no faster than the client takes it, and close.

        Where that cannot go on to the end, whatever the reason, the connection is reset. Raises
        what ``download.pieces`` raises.
        """
        assert self._exchange is not None
        async with contextlib.aclosing(download.pieces):
            if self._transport is None:
                return
            writer = self._begin_answer(self._transport)
            try:
                await writer.stream(self._exchange, download)
            except BaseException:
                self.abort()
                raise
            self._finish_answer(writer)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """See ``Connection``: of what the client sends from now on, only its answer is of use."""
        if self.is_open:
            self._scanner.skip_data()
            UNFINISHED.forget(self)
        super().close(code, reason)

    def refuse_unfinished(self) -> None:
        """See ``held_bytes.Sender``."""
        busy = "too many long messages at a time; try again later"
        self._refuse_frames(Violation(TRY_AGAIN_LATER, busy))

    def abort(self) -> None:
        """Cut the connection now; an answer that was not taken whole must not seem to be."""
        if self._answer is not None:
            self._answer.abort()
        elif self._transport is None and self.carrier is not None:
            self.carrier.abort()
        else:
            super().abort()

    def check(self, now: float) -> None:
        """Called every second."""
        if self._answer is not None:
            self._answer.check(now)
        else:
            super().check(now)

    # --- for the event loop -----------------------------------------------------------------------

    def eof_received(self) -> bool:
        """Called by the event loop; a true answer keeps our direction open."""
        self._catch_up_with_reads()
        if self._phase is RequestPhase.UPGRADED:
            return super().eof_received()
        return self._phase is RequestPhase.ADMISSION

    def pause_writing(self) -> None:
        """Called by the event loop when the client does not keep up."""
        if self._answer is not None:
            self._answer.pause_writing()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Called by the event loop when the client has caught up."""
        super().resume_writing()
        if self._answer is not None:
            self._answer.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop. What was read before is taken first, in turns as well."""
        self._transport = None
        if self._scanner.is_behind:
            self._scan(b"")
            self._loop.call_soon(self.connection_lost, exc)
            return
        self._stop_handshake_timer()
        if self._reader is not None:
            self._reader.close()
        UNFINISHED.forget(self)
        super().connection_lost(exc)
        if self._answer is not None:
            self._answer.connection_lost()
        self._handler.connection_closed(self)

    # --- helpers ----------------------------------------------------------------------------------

    @property
    def _exchange(self) -> Exchange | None:
        """What frames the answer to a plain request."""
        return None if self._reader is None else self._reader.exchange

    def _scan(self, data: bytes) -> None:
        """See ``Connection``: so many frames, then others have their turn."""
        super()._scan(data)
        if not self._has_ended:
            UNFINISHED.note(self, self._scanner.unfinished_bytes)
        if self._scanner.is_behind or not self._is_reading:
            self.review_reading()

    def _wants_more(self) -> bool:
        """Frames that are here come before those that are not read yet."""
        wants_more = super()._wants_more()
        if not self._scanner.is_behind:
            return wants_more
        if wants_more and self._turn is None:
            self._turn = self._loop.call_soon(self._take_turn)
        return False

    def _take_turn(self) -> None:
        self._turn = None
        if self._scanner.is_behind and super()._wants_more():
            self._scan(b"")

    def _catch_up_with_reads(self) -> None:
        """Nothing more will be read: take all that is here."""
        while self._scanner.is_behind:
            super()._scan(b"")

    def _receive_handshake(self, data: bytes) -> None:
        """Take the request; what follows it before it is decided on is dropped, and there is an end
        to that.
        """
        if self._phase is RequestPhase.REQUEST:
            self._receive_request(data)
            return
        self._leftover += len(data)
        if self._leftover > LEFTOVER_BYTES_MAX:
            self.abort()

    def _receive_request(self, data: bytes) -> None:
        """A request, within ``HANDSHAKE_S``."""
        assert self._reader is not None
        request = self._reader.receive(data)
        if self._transport is not None and (wanted := self._reader.data_to_send()):
            self._transport.write(wanted)
        if isinstance(request, Refusal):
            self._handler.unreadable_received(self, request)
        elif request is not None:
            self._move(RequestPhase.ADMISSION)
            self._stop_handshake_timer()
            self.pause(Pause.ADMISSION)
            if isinstance(request, Request):
                self._handler.handshake_received(self, request)
            else:
                self._handler.request_received(self, request)

    def _stop_handshake_timer(self) -> None:
        timer, self._handshake_timer = self._handshake_timer, None
        if timer is not None:
            timer.cancel()

    def _begin_answer(self, transport: asyncio.Transport) -> AnswerWriter:
        self._move(RequestPhase.ANSWERED)
        self._stop_handshake_timer()
        self._answer = AnswerWriter(transport)
        return self._answer

    def _finish_answer(self, writer: AnswerWriter) -> None:
        """Close our direction.

        What the client still sends is read and dropped for a while: closing on unread bytes would
        reset the connection, and the client might never see the answer.
        """
        self._leftover = 0
        if self._transport is None:
            return
        writer.complete()
        self._half_close()
        self.resume(Pause.ADMISSION)
        writer.check(self._loop.time())

    def _close_overdue(self) -> None:
        """Our close was not answered for ``CLOSE_S``: go on while the client still catches up."""
        now = self._loop.time()
        if self._catch_up is None:
            self._catch_up = CatchUp(now)
        self._note_heard(now)
        unsent = 0 if self._transport is None else self._transport.get_write_buffer_size()
        if self._catch_up.goes_on(now, unsent=unsent, heard_at=self._liveness.heard_at):
            self._close_timer = self._loop.call_later(CLOSE_S, self._close_overdue)
        else:
            self.abort()

    def _move(self, phase: RequestPhase) -> None:
        self._phase = advance(TRANSITIONS, self._phase, phase)
