"""ZeroMQ sockets with the project's settings; the only module that binds or connects one.

The context is the caller's: a process that exits without ``context.term()`` loses what it has
queued, whatever LINGER says, so whoever makes it terminates it.
"""

import os
from pathlib import Path
from typing import Any, Final

import zmq

from shared.errors import AlreadyRunningError, ConfigError
from shared.fields import MESSAGE_BYTES_MAX, REQUEST_BYTES_MAX

# Messages that one socket holds for a peer that is away or slow. Past it a send is refused and the
# batch waits in the outbox.
HIGH_WATER_MESSAGES: Final = 10_000
# Announcements for one gateway that is slow: a balance for each of its accounts, many times over.
HIGH_WATER_ANNOUNCEMENTS: Final = 100_000
# How often accountd asks a listener whether it is still there.
HEARTBEAT_MS: Final = 10_000
# How long term() waits for queued messages to leave.
LINGER_MS: Final = 5_000
# Measured: with the default, a reconnect after a 30 s outage takes 8 s; with this, 1 s.
CONNECT_TIMEOUT_MS: Final = 2_000
RECONNECT_INTERVAL_MS: Final = 100
RECONNECT_INTERVAL_MAX_MS: Final = 1_000
# How long an RPC caller waits for its answer.
RPC_DEADLINE_S: Final = 5.0


def configure(socket: "zmq.Socket[Any]") -> None:
    """Apply the project's limits to a new socket, before it binds or connects."""
    socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MESSAGES)
    socket.setsockopt(zmq.RCVHWM, HIGH_WATER_MESSAGES)
    socket.setsockopt(zmq.LINGER, LINGER_MS)
    socket.setsockopt(zmq.CONNECT_TIMEOUT, CONNECT_TIMEOUT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_INTERVAL_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_INTERVAL_MAX_MS)
    socket.setsockopt(zmq.IPV6, 1)
    if socket.type == zmq.XPUB:
        # Every subscription reaches the publisher (XPUB), also to a topic that has one: a new
        # gateway is told its balance at once, and is counted.
        socket.setsockopt(zmq.XPUB_VERBOSER, 1)
        # A host that vanished is noticed, and no longer counted.
        socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3 * HEARTBEAT_MS)
        socket.setsockopt(zmq.SNDHWM, HIGH_WATER_ANNOUNCEMENTS)
    if socket.type == zmq.SUB:
        socket.setsockopt(zmq.RCVHWM, HIGH_WATER_ANNOUNCEMENTS)
        # No growing backoff: sessions of a gateway without new balances spend credit that is gone.
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 0)
    if socket.type == zmq.PULL:
        socket.setsockopt(zmq.MAXMSGSIZE, MESSAGE_BYTES_MAX)
    if socket.type == zmq.ROUTER:
        socket.setsockopt(zmq.MAXMSGSIZE, REQUEST_BYTES_MAX)


def bind(socket: "zmq.Socket[Any]", endpoint: str) -> None:
    """Bind ``socket``; an ``ipc://`` path is private to this user.

    ZeroMQ makes the socket file with mode 0755, so its folder is made 0700 first. Raises
    ``ConfigError``, and ``AlreadyRunningError`` when somebody listens there.
    """
    if endpoint.startswith("ipc://"):
        path = Path(endpoint.removeprefix("ipc://"))
        make_private_folder(path.parent)
        _refuse_if_somebody_listens(path)
    previous = os.umask(0o077)
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as exc:
        raise ConfigError(
            f"cannot listen on {endpoint}: {exc.strerror}",
            hint="is another accountd running there? otherwise choose another endpoint",
        ) from exc
    finally:
        os.umask(previous)


def _refuse_if_somebody_listens(path: Path) -> None:
    """Refuse a path on which another process listens: ZeroMQ would silently take it over."""
    import socket as unix  # noqa: PLC0415 - a daemon needs it, and each command would pay for it

    with unix.socket(unix.AF_UNIX, unix.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:  # there is no file, or it was left by a process that ended
            return
    raise AlreadyRunningError(
        f"another process listens on ipc://{path}",
        hint="stop it first, or choose another endpoint",
    )


def make_private_folder(folder: Path) -> None:
    """Create ``folder`` with mode 0700, or refuse an existing one that others can enter.

    An existing folder is never changed: it may be ``/tmp``.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError as exc:
        raise ConfigError(f"cannot create {folder}: {exc.strerror}") from exc
    if found.st_mode & 0o077 or found.st_uid != os.geteuid():
        raise ConfigError(
            f"{folder} has mode {found.st_mode & 0o777:04o} and owner {found.st_uid}, expected"
            f" 0700 and {os.geteuid()}",
            hint="name a folder of its own for the sockets, or chmod 700 it",
        )
