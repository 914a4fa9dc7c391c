"""A gateway that may open few files: every client is served or told why not."""

import asyncio
import json
import resource
from collections import Counter

from harness import Cluster
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

FILES = 160
CLIENTS = 120


async def attempt(url: str, opened: list[ClientConnection]) -> str:
    """What a client hears: its session, or a status."""
    try:
        socket = await connect(url, open_timeout=30)
    except InvalidStatus as refused:
        return str(refused.response.status_code)
    opened.append(socket)
    return str(json.loads(await asyncio.wait_for(socket.recv(), 30))["type"])


async def test_a_client_is_served_or_refused_when_files_run_out(cluster: Cluster) -> None:
    """Nobody is let in to a session whose provider cannot be connected, nor left without a word."""
    key = await asyncio.to_thread(cluster.create_account, "crowd")
    gateway = cluster.gateways[0]
    _, hard = resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE)
    assert hard == resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE)[0], "raised"
    resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, (FILES, hard))
    opened: list[ClientConnection] = []
    url = f"ws://{cluster.address}/v1/realtime?model=gpt-realtime&key={key}"
    try:
        # A third of them at once, then one after the other.
        crowd = await asyncio.gather(*(attempt(url, opened) for _ in range(CLIENTS // 3)))
        heard = Counter([*crowd, *[await attempt(url, opened) for _ in range(CLIENTS * 2 // 3)]])
        assert set(heard) == {"session.created", "503"}
        assert heard["session.created"] >= (FILES - 64) // 2 - 1
        assert gateway.log.read_text().count("no file descriptors left for sessions") == 1
    finally:
        resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, (hard, hard))
        await asyncio.gather(*(socket.close() for socket in opened))
    assert await attempt(url, opened) == "session.created"
    await opened[-1].close()
