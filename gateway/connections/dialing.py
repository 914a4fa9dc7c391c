"""A TCP connection to a name that has several addresses: the first that answers is taken.

A provider's name may list IPv6 addresses first on a host without an IPv6 route. Tried one after the
other, they would use up all of ``DIAL_S`` before the first IPv4 address. So addresses are raced
(RFC 8305): the families by turns, each ``STAGGER_S`` after the one before. uvloop's
``create_connection`` does not know ``happy_eyeballs_delay``. Called by ``upstream``.
"""

import asyncio
import functools
import itertools
import socket
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

# RFC 8305 section 5 recommends 250 ms.
STAGGER_S: Final = 0.25

Info = tuple[Any, Any, Any, Any, Any]  # of getaddrinfo
Attempt = asyncio.Task[socket.socket]


async def connect(make: Callable[[], asyncio.Protocol], host: str, port: int) -> asyncio.Transport:
    """A connection with the protocol that ``make`` makes, from which each frame leaves at once.

    Raises ``OSError``: that of the first address.
    """
    loop = asyncio.get_running_loop()
    addresses = _written(host, port) or await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if len(addresses) == 1:  # nothing to race: the loop dials it at half the cost
        transport, _ = await loop.create_connection(make, *addresses[0][4][:2])
    else:
        transport, _ = await loop.create_connection(make, sock=await race(addresses))
    return transport


@functools.lru_cache(maxsize=16)
def _written(host: str, port: int) -> Sequence[Info]:
    """The address that ``host`` is; empty where it is a name. Asks nobody, so no thread waits, and
    the answer stays right.
    """
    try:
        numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=numeric)
    except socket.gaierror:
        return ()


async def race(addresses: Iterable[Info]) -> socket.socket:
    """The socket of the first of ``addresses`` that answers. Raises ``OSError``."""
    attempts: list[Attempt] = []
    try:
        won = await _first(in_turn(list(addresses)), attempts)
        await _drop(attempt for attempt in attempts if attempt is not won)
    except BaseException:  # a cancel during ``_drop``, too: then nobody gets the winner's socket
        await _drop(attempts)
        raise
    finally:
        attempts.clear()  # each has an exception that refers to this frame
    return won.result()


def in_turn(addresses: Sequence[Info]) -> list[Info]:
    """The families by turns, beginning with that of the first address (RFC 8305 section 4)."""
    first = [info for info in addresses if info[0] == addresses[0][0]]
    others = [info for info in addresses if info[0] != addresses[0][0]]
    pairs = itertools.zip_longest(first, others)
    return [info for pair in pairs for info in pair if info is not None]


async def _first(addresses: Sequence[Info], attempts: list[Attempt]) -> Attempt:
    """The attempt that connects first. All that were started are added to ``attempts``."""
    waiting = deque(addresses)
    if not waiting:
        raise OSError("the name has no address")
    pending: set[Attempt] = set()
    while waiting or pending:
        if waiting:
            attempts.append(asyncio.create_task(_connect(waiting.popleft())))
            pending.add(attempts[-1])
        timeout = STAGGER_S if waiting else None
        done, pending = await asyncio.wait(
            pending, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
        )
        for attempt in done:
            if attempt.exception() is None:
                return attempt
    failure = attempts[0].exception()
    assert failure is not None
    try:
        raise failure
    finally:
        del failure  # it refers to this frame


async def _connect(info: Info) -> socket.socket:
    family, kind, protocol, _, address = info
    connection = socket.socket(family, kind, protocol)
    try:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(connection, address)
    except BaseException:
        connection.close()
        raise
    return connection


async def _drop(attempts: Iterable[Attempt]) -> None:
    """Cancel attempts, and close the sockets of those that have connected before the cancel."""
    ended = list(attempts)
    for attempt in ended:
        attempt.cancel()
    try:
        await asyncio.gather(*ended, return_exceptions=True)
    finally:  # ``gather`` passes on a cancel of ours, after all attempts have ended
        for attempt in ended:
            if not attempt.cancelled() and attempt.exception() is None:
                attempt.result().close()
