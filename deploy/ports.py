"""Checks before a start that ports are free, so that two clusters never share one."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

from deploy.process import ClusterError

_PORT_MAX = 65_000  # leaves room for the next ones
_LISTEN = "0A"  # the state in /proc/net/tcp (proc(5))


def port_setting(variable: str, default: int) -> int:
    """The port that a variable names; ends the program with one line when it names none."""
    text = os.environ.get(variable) or str(default)
    if not text.isdecimal() or not 0 < int(text) <= _PORT_MAX:
        raise SystemExit(f"{variable}: found {text!r}, expected a port from 1 to {_PORT_MAX}")
    return int(text)


def check_free(port: int, *, variable: str) -> None:
    """Raise ``ClusterError`` when somebody listens on a loopback port that ``variable`` chooses.

    The bind is a plain one, without SO_REUSEPORT: gateways share their port with anyone of this
    user who wants it, so the gateway of another checkout would take half of our clients.
    """
    with socket.socket() as probe:
        # Connections of the cluster that was just stopped may linger in TIME_WAIT; they are free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as exc:
            raise ClusterError(
                f"cannot listen on 127.0.0.1:{port}: {listener(port) or exc.strerror};"
                f" stop that, or choose another port with {variable}"
            ) from exc


def listener(port: int) -> str:
    """Who listens on a port in words, as far as /proc tells this user; empty when it does not."""
    sockets = set(_listening_sockets(port))
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        process = Path("/proc", pid)
        try:
            if sockets.isdisjoint(os.readlink(fd) for fd in (process / "fd").iterdir()):
                continue
            command = (process / "cmdline").read_text(errors="replace").replace("\0", " ").strip()
            return f"taken by pid {pid} ({command[:80]}) in {os.readlink(process / 'cwd')}"
        except OSError:
            continue  # it has ended, or it is another user's
    return ""


def _listening_sockets(port: int) -> Iterator[str]:
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            _, local, _, state, *_, inode = line.split()[:10]
            if state == _LISTEN and int(local.rpartition(":")[2], 16) == port:
                yield f"socket:[{inode}]"
