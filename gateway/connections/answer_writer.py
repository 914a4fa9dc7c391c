"""Writes one plain HTTP answer and sees it delivered: a response at once, or a download in pieces.

``Downstream`` makes an ``AnswerWriter`` when it answers, passes on what the event loop says about
the write buffer, and calls ``check`` every second. The writer promises that an answer which the
client did not take whole never looks whole (the connection is then reset), and that a client which
takes nothing is cut off.
"""

import asyncio
import math
import socket
import struct

from gateway.http.answers import Download
from gateway.http.exchange import Exchange
from gateway.limits import (
    ANSWER_BYTES_PER_S,
    ANSWER_READ_S,
    CLOSE_S,
    DOWNLOAD_HIGH_WATER_BYTES,
    DOWNLOAD_READ_S,
    STALLED_S,
    UNSENT_BYTES_MAX,
)


class AnswerWriter:
    """One answer on one transport."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._takes_more = asyncio.Event()  # set as well when the client is gone: nobody waits then
        self._takes_more.set()
        self._is_lost = False
        self._is_complete = False
        self._unsent: float = math.inf  # when that was last looked at
        self._progressed_at = self._loop.time()
        self._read_by = math.inf
        self._cut_timer: asyncio.TimerHandle | None = None
        # How much the kernel holds unsent beside the transport's buffer. Its default is megabytes:
        # a download would not be bounded, and progress of a slow client not be seen for minutes.
        self._socket_option(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES_MAX)

    def write(self, data: bytes) -> None:
        """Send a part of the answer, if the client is still there."""
        if not self._is_lost:
            self._transport.write(data)

    async def stream(self, exchange: Exchange, download: Download) -> None:
        """Send ``download`` no faster than the client takes it; stop when the client is gone.

        Until all of it is written, ``abort`` resets the connection: to a client of HTTP/1.0 a mere
        end of the connection would be the end of the file. Raises what ``download.pieces`` raises.
        """
        self._read_by = self._loop.time() + DOWNLOAD_READ_S
        self._transport.set_write_buffer_limits(high=DOWNLOAD_HIGH_WATER_BYTES)
        self._reset_on_close(True)
        self.write(exchange.begin(download.headers))
        async for piece in download.pieces:
            self.write(exchange.piece(piece))
            await self._takes_more.wait()
            self._progressed_at = self._loop.time()
            if self._is_lost:
                return
        self.write(exchange.end())

    def complete(self) -> None:
        """All of the answer was written: from now on the connection may end like any other."""
        self._is_complete = True
        self._reset_on_close(False)
        self._progressed_at = self._loop.time()
        if self._read_by == math.inf:
            unsent = self._transport.get_write_buffer_size()
            self._read_by = self._progressed_at + ANSWER_READ_S + unsent / ANSWER_BYTES_PER_S

    def check(self, now: float) -> None:
        """Called every second: cut the connection ``CLOSE_S`` after all of the answer has left, or
        when nothing of it was taken for ``STALLED_S``, or not all of it by its deadline.
        """
        if self._is_lost:
            return
        unsent, before = self._transport.get_write_buffer_size(), self._unsent
        self._unsent = unsent
        if not unsent or unsent < before:
            self._progressed_at = now
        if now - self._progressed_at > STALLED_S or now > self._read_by:
            self.abort()
        elif self._is_delivered and self._cut_timer is None:
            self._cut_timer = self._loop.call_later(CLOSE_S, self.abort)

    def abort(self) -> None:
        """Cut the connection now, with a reset if the client has not got all of the answer."""
        if not self._is_lost:
            if not self._is_delivered:
                self._reset_on_close(True)
            self._transport.abort()

    # --- for the event loop -----------------------------------------------------------------------

    def pause_writing(self) -> None:
        """The write buffer is full: make no more of a download."""
        self._takes_more.clear()

    def resume_writing(self) -> None:
        """The write buffer takes more again."""
        self._takes_more.set()

    def connection_lost(self) -> None:
        """The client is gone."""
        self._is_lost = True
        self._takes_more.set()
        if self._cut_timer is not None:
            self._cut_timer.cancel()

    # --- helpers ----------------------------------------------------------------------------------

    @property
    def _is_delivered(self) -> bool:
        """Whether all of the answer has left the transport."""
        return self._is_complete and not self._transport.get_write_buffer_size()

    def _reset_on_close(self, is_so: bool) -> None:
        """Whether closing the socket sends a reset (SO_LINGER with 0 s) or an ordinary end."""
        self._socket_option(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", is_so, 0))

    def _socket_option(self, level: int, option: int, value: int | bytes) -> None:
        if not self._is_lost:
            self._transport.get_extra_info("socket").setsockopt(level, option, value)
