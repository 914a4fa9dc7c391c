"""Checks before a start that ports are free, so that two clusters never share one."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

from deploy.process import ClusterError

_PORT_MAX = 65_000  # below 65,535: RTS_OPS_PORT is the first of several ports
_LISTEN = "0A"  # the state in /proc/net/tcp (proc(5))


def port_setting(variable: str, default: int) -> int:
    """The port in an environment variable; exits with one line when its value is no port."""
    text = os.environ.get(variable) or str(default)
    if not text.isdecimal() or not 0 < int(text) <= _PORT_MAX:
        raise SystemExit(f"{variable}: found {text!r}, expected a port from 1 to {_PORT_MAX}")
    return int(text)


def check_free(port: int, *, variable: str) -> None:
    """Raise ``ClusterError`` when a program listens on the loopback port that ``variable`` sets.

    The test binds without SO_REUSEPORT, so it fails on a shared port, too. A gateway shares its
    port with every process of the same user: one of another checkout would get half of the clients.
    """
    with socket.socket() as probe:
        # Allows a port with connections in TIME_WAIT: a cluster that was just stopped leaves some.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as exc:
            raise ClusterError(
                f"cannot listen on 127.0.0.1:{port}: {listener(port) or exc.strerror};"
                f" stop that, or choose another port with {variable}"
            ) from exc


def listener(port: int) -> str:
    """A clause that names the process which listens on a port, for an error message.

    Empty when it is another user's process, whose descriptors /proc does not show.
    """
    sockets = set(_listening_sockets(port))
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        process = Path("/proc", pid)
        try:
            if sockets.isdisjoint(os.readlink(fd) for fd in (process / "fd").iterdir()):
                continue
            command = (process / "cmdline").read_text(errors="replace").replace("\0", " ").strip()
            return f"taken by pid {pid} ({command[:80]}) in {os.readlink(process / 'cwd')}"
        except OSError:
            continue  # the process has ended, or it is another user's
    return ""


def _listening_sockets(port: int) -> Iterator[str]:
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            _, local, _, state, *_, inode = line.split()[:10]
            if state == _LISTEN and int(local.rpartition(":")[2], 16) == port:
                yield f"socket:[{inode}]"
