"""Accepts clients while there are descriptors for them.

``server`` makes a ``Listener`` for each address. The event loop's own server accepts every
connection: with no descriptor left it resets them without an answer (libuv closes them with a
reserve descriptor on EMFILE), and with the last one taken, sessions that were let in have none for
their provider. A ``Listener`` leaves further clients in the kernel's queue until one has left.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final

import structlog

from shared.errors import cause_of

log = structlog.get_logger()

BACKLOG: Final = 1024
# Accepted in one turn of the event loop, so that many new clients do not delay open sessions.
AT_ONCE: Final = 64
# Pause after a failure of the system (ENFILE, ENOMEM), which a leaving client may not mend.
RETRY_S: Final = 1.0


class Listener:
    """One listening socket."""

    def __init__(
        self,
        listening: socket.socket,
        make: Callable[[], asyncio.Protocol],
        *,
        has_capacity: Callable[[], bool],
    ) -> None:
        """``listening`` is bound. ``make`` makes the protocol of a client. ``has_capacity`` says
        whether one more may be accepted; it counts a client from ``make`` until
        ``connection_lost``.
        """
        self._loop = asyncio.get_running_loop()
        self._listening = listening
        self._make = make
        self._has_capacity = has_capacity
        self._joining: set[asyncio.Task[None]] = set()
        self._is_closed = self._is_reading = self._has_failed = False

    def start(self) -> None:
        """Listen and accept."""
        self._listening.setblocking(False)
        self._listening.listen(BACKLOG)
        self.wake()

    def wake(self) -> None:
        """A client has left: accept again if there is a place."""
        if not self._is_reading and not self._is_closed and self._has_capacity():
            self._is_reading = True
            self._loop.add_reader(self._listening, self._accept)

    def close(self) -> None:
        """Accept nobody any more; clients that were accepted stay."""
        self._pause()
        self._is_closed = True
        self._listening.close()

    # --- helpers ----------------------------------------------------------------------------------

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            if not self._has_capacity():
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
