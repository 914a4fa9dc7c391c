"""Bytes of strangers to a real gateway: each connection ends, and an honest client is served."""

import asyncio
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from websockets.asyncio.client import connect

from tests.support.fuzz_seeds import PRELUDES, REQUESTS, words
from tests.support.gateway_in_process import API_KEY
from tests.support.harness import Cluster, Daemon, running_cluster
from tests.support.mutated_bytes import mutated

SECONDS = 20
GROWTH_KB = 40_000  # what a process takes anyway, once it has done everything once
EXPECTED = ("proxy refused", "wrong keys from one address")
MODEL = "gpt-realtime"
REQUESTS_AND_PRELUDES = [*REQUESTS, *[x + REQUESTS[n] for n, x in enumerate(PRELUDES)]]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two gateways: one of them is behind proxies, and each client here is one."""
    with running_cluster() as running:
        running.start_gateway(
            GATEWAY_TRUSTED_PROXIES="127.0.0.0/8", GATEWAY_CLIENT_ADDRESS="proxy-v2"
        )
        yield running


@pytest.fixture(scope="module")
def key(cluster: Cluster) -> str:
    """A key for both."""
    return cluster.create_account("stranger")


def said_to(gateway: Daemon, data: bytes) -> bytes:
    """What a client hears that says ``data`` and then has no more to say."""
    host, port = gateway.field("listen").split(":")
    with socket.create_connection((host, int(port)), timeout=SECONDS) as client:
        heard = b""
        try:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            while piece := client.recv(65_536):
                heard += piece
        except ConnectionError:  # cut: what came before counts
            pass
        return heard


async def is_served(gateway: Daemon, key: str, *, prelude: bytes) -> bool:
    """Whether an honest client has a session."""
    host, port = gateway.field("listen").split(":")
    connection = socket.create_connection((host, int(port)))
    connection.sendall(prelude)
    url = f"ws://{host}:{port}/v1/realtime?model={MODEL}&rs_key={key}"
    async with asyncio.timeout(SECONDS), connect(url, sock=connection) as client:
        return b"session.created" in (await client.recv(decode=False))


def memory_kb(gateway: Daemon) -> int:
    """What a gateway holds."""
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def test_any_bytes_are_answered_or_end(cluster: Cluster, key: str) -> None:
    """With an answer, an upgrade or an end; nothing is logged but who was refused."""
    honest = list(zip(cluster.gateways, (b"", PRELUDES[0]), strict=True))
    for gateway, prelude in honest:
        assert asyncio.run(is_served(gateway, key, prelude=prelude))
    before = [memory_kb(gateway) for gateway in cluster.gateways]

    @settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], database=None)
    @given(mutated(REQUESTS_AND_PRELUDES, words()))
    def strangers(data: bytes) -> None:
        for gateway in cluster.gateways:
            heard = said_to(gateway, data.replace(API_KEY.encode(), key.encode()))
            assert heard == b"" or re.match(rb"HTTP/1\.1 [1-5]\d\d ", heard), heard

    strangers()
    for gateway, prelude in honest:
        assert asyncio.run(is_served(gateway, key, prelude=prelude))
        complaints = [x for x in gateway.complaints() if not any(y in x for y in EXPECTED)]
        assert complaints == []
    after = [memory_kb(gateway) for gateway in cluster.gateways]
    assert max(now - then for now, then in zip(after, before, strict=True)) < GROWTH_KB
