"""Accepts clients while there are descriptors for them.

``server`` makes a ``Listener`` for each address. The event loop's own server accepts every
connection: with no descriptor left it resets them without an answer (libuv closes them with a
reserve descriptor on EMFILE), and with the last one taken, sessions that were let in have none for
their provider. A ``Listener`` leaves further clients in the kernel's queue until one has left.

Its states are a table (``TRANSITIONS``); from each one it may be closed::

    WAITING ◀──▶ ACCEPTING ──▶ FAILED ◀──▶ RETRYING
                     ▲                        │
                     └────────────────────────┘
"""

import asyncio
import socket
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

import structlog

from shared.errors import cause_of
from shared.state_machine import advance

log = structlog.get_logger()

BACKLOG: Final = 1024
# Accepted in one turn of the event loop, so that many new clients do not delay open sessions.
AT_ONCE: Final = 64
# Pause after a failure of the system (ENFILE, ENOMEM), which a leaving client may not mend.
RETRY_S: Final = 1.0


class ListenerState(Enum):
    """What a listener does with clients in the kernel's queue."""

    WAITING = auto()  # it leaves them there: no capacity is left, or it has not started
    ACCEPTING = auto()  # it takes them
    FAILED = auto()  # it leaves them there: the system failed to accept one
    RETRYING = auto()  # as ACCEPTING, but none was accepted since that failure
    CLOSED = auto()  # the socket is closed


TRANSITIONS: Final = {
    ListenerState.WAITING: {ListenerState.ACCEPTING, ListenerState.CLOSED},
    ListenerState.ACCEPTING: {
        ListenerState.WAITING, ListenerState.FAILED, ListenerState.CLOSED,
    },
    ListenerState.FAILED: {ListenerState.RETRYING, ListenerState.CLOSED},
    ListenerState.RETRYING: {
        ListenerState.ACCEPTING, ListenerState.FAILED, ListenerState.CLOSED,
    },
    ListenerState.CLOSED: set[ListenerState](),
}  # fmt: skip
# The event loop tells of clients in these states alone. Each has the one in which it pauses, and
# which ``wake`` leaves again.
_PAUSED_BY_READING: Final = {
    ListenerState.ACCEPTING: ListenerState.WAITING,
    ListenerState.RETRYING: ListenerState.FAILED,
}
_READING_BY_PAUSED: Final = {paused: reading for reading, paused in _PAUSED_BY_READING.items()}


class Listener:
    """One listening socket."""

    def __init__(
        self,
        listening: socket.socket,
        make: Callable[[str], asyncio.Protocol | None],
        *,
        has_capacity: Callable[[], bool],
    ) -> None:
        """``listening`` is bound. ``make`` makes the protocol of a client at an address, None where
        that is cut. ``has_capacity`` says whether one more may be accepted; it counts a client from
        ``make`` until ``connection_lost``.
        """
        self._loop = asyncio.get_running_loop()
        self._listening = listening
        self._make = make
        self._has_capacity = has_capacity
        self._joining: set[asyncio.Task[None]] = set()
        self._state = ListenerState.WAITING

    def start(self) -> None:
        """Listen and accept."""
        self._listening.setblocking(False)
        self._listening.listen(BACKLOG)
        self.wake()

    def wake(self) -> None:
        """A client has left: accept again if there is a place."""
        reading = _READING_BY_PAUSED.get(self._state)
        if reading is not None and self._has_capacity():
            self._move(reading)

    def close(self) -> None:
        """Accept nobody any more; clients that were accepted stay."""
        if self._state is not ListenerState.CLOSED:
            self._move(ListenerState.CLOSED)
            self._listening.close()

    # --- helpers ----------------------------------------------------------------------------------

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            if not self._has_capacity():
                self._move(_PAUSED_BY_READING[self._state])
                return
            try:
                connection, address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as exc:
                self._fail(exc)
                return
            if self._state is ListenerState.RETRYING:
                self._move(ListenerState.ACCEPTING)
            protocol = self._make(address[0])
            if protocol is None:
                connection.close()
                continue
            task = self._loop.create_task(self._join(connection, protocol))
            self._joining.add(task)
            task.add_done_callback(self._joining.discard)

    async def _join(self, connection: socket.socket, protocol: asyncio.Protocol) -> None:
        try:
            # The loop sets TCP_NODELAY: frames of speech are small, and each leaves at once.
            await self._loop.connect_accepted_socket(lambda: protocol, connection)
        except OSError as exc:  # it is gone already
            connection.close()
            protocol.connection_lost(exc)

    def _fail(self, exc: OSError) -> None:
        """Try again later; the log has the first of several failures in succession."""
        is_first = self._state is ListenerState.ACCEPTING
        self._move(ListenerState.FAILED)
        self._loop.call_later(RETRY_S, self.wake)
        if is_first:
            log.error(
                "clients cannot be accepted",
                cause=cause_of(exc),
                hint="raise the system's limit of open files (fs.file-max), or add a gateway",
            )

    def _move(self, state: ListenerState) -> None:
        was_reading = self._state in _PAUSED_BY_READING
        self._state = advance(TRANSITIONS, self._state, state)
        is_reading = state in _PAUSED_BY_READING
        if is_reading and not was_reading:
            self._loop.add_reader(self._listening, self._accept)
        elif was_reading and not is_reading:
            self._loop.remove_reader(self._listening)
