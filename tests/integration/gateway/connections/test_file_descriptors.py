"""A gateway that may open few files: every client is served or refused with a reason."""

import asyncio
import json
import resource
from collections import Counter

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from gateway.connections.file_descriptors import OTHERS, OWN
from tests.support.harness import Cluster, cluster_folder

FILES = 200
CLIENTS = 120
CROWD = 400  # in one burst: more than there are descriptors


async def attempt(url: str, opened: list[ClientConnection]) -> str:
    """What a client is answered: a session, or a status."""
    try:
        socket = await connect(url, open_timeout=30)
    except InvalidStatus as refused:
        return str(refused.response.status_code)
    opened.append(socket)
    return str(json.loads(await asyncio.wait_for(socket.recv(), 30))["type"])


async def test_a_client_is_served_or_refused_when_files_run_out(cluster: Cluster) -> None:
    """No session is admitted without a descriptor for its provider; no client is left waiting."""
    key = await asyncio.to_thread(cluster.create_account, "crowd")
    gateway = cluster.gateways[0]
    _, hard = resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, (FILES, hard))
    opened: list[ClientConnection] = []
    url = f"ws://{cluster.address}/v1/realtime?model=gpt-realtime&key={key}"
    try:
        # A third of them at once, then one after the other; then a crowd.
        first = await asyncio.gather(*(attempt(url, opened) for _ in range(CLIENTS // 3)))
        later = [await attempt(url, opened) for _ in range(CLIENTS * 2 // 3)]
        crowd = await asyncio.gather(*(attempt(url, opened) for _ in range(CROWD)))
        heard = Counter([*first, *later, *crowd])
        assert set(heard) == {"session.created", "503"}
        assert heard["session.created"] >= (FILES - OWN - OTHERS) // 2 - 1
        assert gateway.log.read_text().count("no room for more sessions") == 1
    finally:
        resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, (hard, hard))
        await asyncio.gather(*(socket.close() for socket in opened))
    assert await attempt(url, opened) == "session.created"
    await opened[-1].close()


async def test_a_crowd_at_once_is_served_or_refused(cluster: Cluster) -> None:
    """While nobody is there yet: those who get a session get their provider, too."""
    key = await asyncio.to_thread(cluster.create_account, "horde")
    pid = cluster.gateways[0].process.pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (FILES, hard))
    opened: list[ClientConnection] = []
    url = f"ws://{cluster.address}/v1/realtime?model=gpt-realtime&key={key}"
    try:
        heard = Counter(await asyncio.gather(*(attempt(url, opened) for _ in range(CROWD))))
        assert set(heard) == {"session.created", "503"}
        assert heard["session.created"] >= (FILES - OWN - OTHERS) // 2 - 1
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
        await asyncio.gather(*(socket.close() for socket in opened))


@pytest.mark.parametrize("name", ["accountd", "rts-gateway"])
def test_a_daemon_may_open_what_the_system_allows(name: str) -> None:
    """Whatever it was started with: every gateway is a connection of accountd's, too."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with cluster_folder() as cluster:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
        try:
            accountd = cluster.start_accountd()
            daemon = accountd if name == "accountd" else cluster.start_gateway()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE) == (limits[1],) * 2
