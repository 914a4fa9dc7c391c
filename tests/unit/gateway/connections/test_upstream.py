"""Dialling a provider: what may come before the answer that counts."""

import asyncio
import re
import ssl

import pytest
from websockets.utils import accept_key

from gateway.connections.provider_errors import ProviderUnavailableError
from gateway.connections.sink import Discard
from gateway.connections.upstream import Upstream, dial

ACCEPTED = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: {}\r\n\r\n"
)
REFUSED = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
CONTINUE, HINTS = "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


async def dialled(answer: str, at_once: int) -> bool:
    """Whether a session opens with a provider that sends ``at_once`` bytes of ``answer`` a time."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        found = re.search(r"Sec-WebSocket-Key: (\S+)", request)
        assert found is not None
        text = answer.format(accept_key(found[1])).encode()
        for start in range(0, len(text), at_once):
            writer.write(text[start : start + at_once])
            await writer.drain()
            await asyncio.sleep(0)
        await reader.read()
        writer.close()
        await writer.wait_closed()
        gone.set()

    gone = asyncio.Event()
    opened: list[Upstream] = []
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        tls = ssl.create_default_context()
        url = f"ws://127.0.0.1:{port}/"
        try:
            connection = await dial(url, {}, sink=Discard(), on_open=opened.append, tls=tls)
        except ProviderUnavailableError as exc:
            assert exc.status == 403
            assert opened == []
        else:
            assert opened == [connection]
            connection.abort()
        await gone.wait()
        return bool(opened)


@pytest.mark.parametrize("at_once", [7, 10_000])
@pytest.mark.parametrize(
    ("answer", "opens"),
    [
        (ACCEPTED, True),
        (HINTS + ACCEPTED, True),
        (CONTINUE + HINTS + HINTS + ACCEPTED, True),
        (HINTS + REFUSED, False),
    ],
    ids=["none", "hints", "several", "hints, then a refusal"],
)
async def test_interim_answers_are_skipped(answer: str, at_once: int, opens: bool) -> None:
    """A CDN may send hints, or 100, before the answer to the handshake, which alone counts."""
    assert await dialled(answer, at_once) is opens
