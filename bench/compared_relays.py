"""What a relay is compared with: haproxy, and the least that an asyncio program can do.

Each is a process of its own in front of the same provider. ``python -m bench.compared_relays PORT``
is the second one: it passes bytes on as they come, on uvloop, and knows nothing of frames.
"""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple, cast

import uvloop

from tests.support.ports import free_ports

# One thread, and the tunnel that a WebSocket is for it: it reads no frame.
_HAPROXY: Final = """
global
    nbthread 1
    maxconn 4000
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout tunnel 60s
listen relay
    bind 127.0.0.1:{port}
    server provider {provider}
"""


class Relay(NamedTuple):
    """A process that relays: its name, where it listens, and its id."""

    name: str
    address: str
    pid: int


@contextmanager
def haproxy(provider: str, folder: Path) -> Iterator[Relay | None]:
    """haproxy before ``provider`` (HOST:PORT), or None where it is not installed."""
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if program is None:
        print("found no haproxy to compare with; on Debian: apt-get install haproxy")
        yield None
        return
    (port,) = free_ports(1)
    config = folder / "haproxy.cfg"
    config.write_text(_HAPROXY.format(port=port, provider=provider))
    with _running([program, "-q", "-f", str(config)]) as process:
        yield Relay("haproxy", f"127.0.0.1:{port}", process.pid)


@contextmanager
def splice(provider: str) -> Iterator[Relay]:
    """The program below before ``provider``."""
    (port,) = free_ports(1)
    upstream = provider.rpartition(":")[2]
    command = [sys.executable, "-m", "bench.compared_relays", str(port), upstream]
    with _running(command) as process:
        yield Relay("bytes on uvloop", f"127.0.0.1:{port}", process.pid)


@contextmanager
def _running(command: list[str]) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(command)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


class _Half(asyncio.Protocol):
    """One connection; what it gets is written to the ``other`` one, or kept until that is there."""

    def __init__(self, other: "_Half | None" = None) -> None:
        self.other = other
        self._transport: asyncio.Transport | None = None
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.writelines(self._early)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        assert self.other is not None
        if self.other._transport is None:
            self.other._early.append(data)
        else:
            self.other._transport.write(data)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Called by the event loop."""
        if self.other is not None and self.other._transport is not None:
            self.other._transport.close()


async def _serve(port: int, provider: int) -> None:
    loop = asyncio.get_running_loop()
    dialling = set()

    def accept() -> _Half:
        client = _Half()
        other = client.other = _Half(client)
        dial = loop.create_connection(lambda: other, "127.0.0.1", provider)
        task = loop.create_task(dial)
        dialling.add(task)
        task.add_done_callback(dialling.discard)
        return client

    server = await loop.create_server(accept, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), int(sys.argv[2])))
