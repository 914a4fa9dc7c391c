"""What one abuser does, by the name of its kind. Each ends by itself, or with its connection."""

import asyncio
from collections.abc import Awaitable, Callable

from gateway.limits import FRAGMENTS_MAX
from tests.chaos.abuse.wire import MASK, UNREAD_BYTES, Place, Wire, event, head, request, tls_hello

MIB = 1024 * 1024
FOREVER_S = 3_600.0
# A frame of one masked byte: the first of a message, and a later one.
FIRST = b"\x01\x81" + MASK + b"x"
NEXT = b"\x00\x81" + MASK + b"x"
PING = b"\x89\x80" + MASK
CREATE = event("response.create")
TINY = event("input_audio_buffer.append", audio="AAA=")
ENDLESS = "&pace=0&reply_ms=3600000"  # an answer of an hour, as fast as it is taken
BURSTS_S = 10.0  # how long floods last
LOST_S = 2.0  # until the provider is gone
METRICS = b"GET /metrics HTTP/1.1\r\nHost: gateway\r\n\r\n"

Script = Callable[[Wire, Place, int], Awaitable[None]]


async def slow_handshake(wire: Wire, place: Place, number: int) -> None:
    """A request, a byte a second."""
    await wire.connect()
    await wire.send(b"GET /v1/realtime HTTP/1.1\r\nX-Slow: ")
    await _trickle(wire, 1.0)


async def slow_tls(wire: Wire, place: Place, number: int) -> None:
    """TLS' first message, a byte a second."""
    await wire.connect(place.tls_port)
    hello = tls_hello()
    for at in range(len(hello)):
        await wire.send(hello[at : at + 1])
        await asyncio.sleep(1.0)


async def header_bomb(wire: Wire, place: Place, number: int) -> None:
    """Headers without an end."""
    await wire.connect()
    await wire.send(b"GET /v1/realtime HTTP/1.1\r\n")
    while True:
        await wire.send(b"a: b\r\n" * 10_000)


async def long_uri(wire: Wire, place: Place, number: int) -> None:
    """A right handshake with a model's name of 9 kB, again and again; connections are left open."""
    await wire.connect()
    model = "m" * 9_000
    await wire.send(request(f"/v1/realtime?model={model}&rs_key={place.key}"))
    await wire.drop()


async def unread_answer(wire: Wire, place: Place, number: int) -> None:
    """The page, a module of it, the console's data, or a file of usage: asked for, and not read."""
    targets = ("/", "/web/page.js", "/api/account", "/api/usage.csv")
    await wire.connect(unread_bytes=UNREAD_BYTES)
    target = targets[number % len(targets)]
    lines = f"GET {target} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {place.key}\r\n\r\n"
    await wire.send(lines.encode())
    await asyncio.sleep(FOREVER_S)


async def unread_file(wire: Wire, place: Place, number: int) -> None:
    """A long file of usage, of which nothing is read."""
    await wire.connect(unread_bytes=UNREAD_BYTES)
    lines = f"GET /api/usage.csv HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {place.key}\r\n\r\n"
    await wire.send(lines.encode())
    await asyncio.sleep(FOREVER_S)


async def tiny_chunks(wire: Wire, place: Place, number: int) -> None:
    """A body in chunks of a byte, which needs no key."""
    await wire.connect()
    await wire.send(b"POST /v1/realtime HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
    await wire.send(b"1\r\nx\r\n" * 65_000)
    await wire.drop()


async def unread_metrics(wire: Wire, place: Place, number: int) -> None:
    """The ops port: numbers that are not read, and requests that come a byte a second."""
    await wire.connect(place.ops_port, unread_bytes=UNREAD_BYTES)
    if number % 2:
        await wire.send(METRICS[:-4] + b"\r\nX-Slow: ")
        await _trickle(wire, 1.0)
    while True:
        await wire.send(METRICS)
        await asyncio.sleep(0.01)


async def deaf(wire: Wire, place: Place, number: int) -> None:
    """An endless answer that is not read; every second one goes on speaking."""
    await wire.connect(unread_bytes=UNREAD_BYTES)
    await wire.open_session(ENDLESS)
    await wire.send(CREATE)
    if number % 2:
        while True:
            await wire.send(TINY)
            await asyncio.sleep(0.02)
    await asyncio.sleep(FOREVER_S)


async def fragments(wire: Wire, place: Place, number: int) -> None:
    """A message in more one-byte fragments than it may have."""
    await wire.connect()
    await wire.open_session("&pace=0")
    listening = asyncio.ensure_future(wire.drop())
    await wire.send(FIRST)
    for _ in range(FRAGMENTS_MAX // 1_000 + 1):
        await wire.send(NEXT * 1_000)
    await listening


async def pings(wire: Wire, place: Place, number: int) -> None:
    """Pings as fast as they are taken; every second one reads no pong."""
    await wire.connect(unread_bytes=UNREAD_BYTES if number % 2 else 0)
    await wire.open_session("&pace=0")
    listening = asyncio.ensure_future(asyncio.sleep(FOREVER_S) if number % 2 else wire.drop())
    try:
        await _flood(wire, PING * 10_000)
    finally:
        listening.cancel()


async def tiny(wire: Wire, place: Place, number: int) -> None:
    """A thousand messages a second."""
    await wire.connect()
    await wire.open_session("&pace=0")
    listening = asyncio.ensure_future(wire.drop())
    loop = asyncio.get_running_loop()
    begun, sent = loop.time(), 0
    while loop.time() - begun < BURSTS_S:
        due = int((loop.time() - begun) * 1_000) - sent
        await wire.send(TINY * due)
        sent += due
        await asyncio.sleep(0.01)
    listening.cancel()


async def before_provider(wire: Wire, place: Place, number: int) -> None:
    """16 MiB to a provider that never answers the handshake."""
    await wire.connect()
    await wire.upgraded("&dial_ms=60000")
    listening = asyncio.ensure_future(wire.drop())
    await wire.send(head(1, 16 * MIB) + b"x" * (16 * MIB))
    await listening


async def unfinished(wire: Wire, place: Place, number: int) -> None:
    """16 MiB of a message in a session that stands, and no more: a byte a second after that."""
    await wire.connect()
    await wire.open_session("&pace=0")
    listening = asyncio.ensure_future(wire.drop())
    await wire.send(head(1, 16 * MIB + 100) + b"x" * (16 * MIB))
    while not listening.done():
        await wire.send(b"x")
        await asyncio.wait((listening,), timeout=1.0)


async def between_providers(wire: Wire, place: Place, number: int) -> None:
    """Speech as fast as it is taken, from when the session has lost its provider."""
    await wire.connect()
    await wire.open_session("&pace=0")
    listening = asyncio.ensure_future(wire.drop())
    await asyncio.sleep(LOST_S)
    piece = event("input_audio_buffer.append", audio="A" * 30_000)
    while not listening.done():
        await wire.send(piece)


async def vanishing(wire: Wire, place: Place, number: int) -> None:
    """An idle session, one that hears an answer, a request in parts, or an answer that is not read:
    until the network is gone.
    """
    await wire.connect()
    kind = number % 4
    if kind == 0:
        await wire.open_session("&pace=0")
    elif kind == 1:
        await wire.open_session("&pace=1&reply_ms=60000")
        await wire.send(CREATE)
    elif kind == 2:
        await wire.send(b"GET /v1/realtime HTTP/1.1\r\n")
    else:
        await wire.send(b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n")
    await wire.drop()


async def sessions(wire: Wire, place: Place, number: int) -> None:
    """A session that is held; refused where there are too many."""
    await wire.connect()
    await wire.open_session("&pace=0")
    await wire.drop()


async def _trickle(wire: Wire, pause_s: float) -> None:
    while True:
        await wire.send(b"x")
        await asyncio.sleep(pause_s)


async def _flood(wire: Wire, data: bytes) -> None:
    async with asyncio.timeout(BURSTS_S):
        while True:
            await wire.send(data)


SCRIPTS: dict[str, Script] = {
    script.__name__: script
    for script in (
        slow_handshake, slow_tls, header_bomb, long_uri, unread_answer, unread_file, tiny_chunks,
        unread_metrics, deaf, fragments, pings, tiny, before_provider, unfinished,
        between_providers, vanishing, sessions,
    )
}  # fmt: skip
