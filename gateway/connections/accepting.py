"""Accepts clients as long as there is a place for them.

The event loop's own server accepts all that knock. Where no descriptor is left for that it resets
them without a word (libuv's reserve does so on EMFILE), and where the last one was taken the
sessions of those before have none for their provider. Here who finds no place waits in the kernel's
queue until somebody leaves.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final

import structlog

from shared.errors import cause_of

log = structlog.get_logger()

BACKLOG: Final = 1024
# Accepted in one go, so that a crowd at the door does not hold up those who talk.
AT_ONCE: Final = 64
# When it is tried again after a failure that is the system's, for which nobody's leaving may help.
RETRY_S: Final = 1.0


class Listener:
    """One socket on which clients come in."""

    def __init__(
        self,
        listening: socket.socket,
        make: Callable[[], asyncio.Protocol],
        *,
        has_place: Callable[[], bool],
    ) -> None:
        """``listening`` is bound. ``make`` makes a client's protocol, which ``has_place`` counts
        from then on until its ``connection_lost``.
        """
        self._loop = asyncio.get_running_loop()
        self._listening = listening
        self._make = make
        self._has_place = has_place
        self._joining: set[asyncio.Task[None]] = set()
        self._is_closed = self._is_reading = self._has_failed = False

    def start(self) -> None:
        """Let clients in."""
        self._listening.setblocking(False)
        self._listening.listen(BACKLOG)
        self.wake()

    def wake(self) -> None:
        """Somebody left: there may be a place."""
        if not self._is_reading and not self._is_closed and self._has_place():
            self._is_reading = True
            self._loop.add_reader(self._listening, self._accept)

    def close(self) -> None:
        """Let nobody in any more; those who were stay."""
        self._pause()
        self._is_closed = True
        self._listening.close()

    # --- helpers ----------------------------------------------------------------------------------

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            if not self._has_place():
                self._pause()
                return
            try:
                connection, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as exc:
                self._fail(exc)
                return
            self._has_failed = False
            task = self._loop.create_task(self._join(connection, self._make()))
            self._joining.add(task)
            task.add_done_callback(self._joining.discard)

    async def _join(self, connection: socket.socket, protocol: asyncio.Protocol) -> None:
        try:
            # Frames of speech are small: each leaves at once.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(lambda: protocol, connection)
        except OSError as exc:  # it is gone already
            connection.close()
            protocol.connection_lost(exc)

    def _fail(self, exc: OSError) -> None:
        self._pause()
        self._loop.call_later(RETRY_S, self.wake)
        if not self._has_failed:
            self._has_failed = True
            log.error(
                "clients cannot be accepted",
                cause=cause_of(exc),
                hint="raise the system's limit of open files (fs.file-max), or add a gateway",
            )

    def _pause(self) -> None:
        if self._is_reading:
            self._is_reading = False
            self._loop.remove_reader(self._listening)
