"""A connection after its upgrade, over real TCP, the frames of its client, and `until`.

It stands in for the handshake: tests of a connection begin where the upgrade is done.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from gateway.connections.connection import Connection
from gateway.connections.sink import Sink

SECONDS = 10.0


def masked(first: int, payload: bytes = b"") -> bytes:
    """A client frame of at most 125 bytes, with a zero mask: its payload is readable as it is."""
    return bytes([first, 0x80 | len(payload)]) + b"\0\0\0\0" + payload


async def until(check: Callable[[], object]) -> None:
    """Let the loop turn until ``check`` is true."""
    async with asyncio.timeout(SECONDS):
        while not check():  # noqa: ASYNC110 - what is waited for has no event to await
            await asyncio.sleep(0.001)


@asynccontextmanager
async def upgraded(sink: Sink) -> AsyncIterator[tuple[Connection, socket.socket]]:
    """A server's connection and the socket of its peer, which does not block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    peer.setblocking(False)
    connection = Connection(expects_mask=True, sink=sink)
    await asyncio.get_running_loop().create_connection(lambda: connection, sock=ours)
    yield connection, peer
    peer.close()
    connection.abort()
    await until(lambda: connection._transport is None)
