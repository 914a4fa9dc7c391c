"""Many sessions at once, and clients that vanish: what the provider sent is what is charged."""

import asyncio
import base64
import json
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from gateway.limits import DRAIN_S
from tests.support.deadlines import within
from tests.support.harness import Cluster, eventually, running_cluster
from tests.support.speech import chunks, silence, tone

SESSIONS, RESPONSES = 50, 12
VANISHING = 300


@pytest.fixture
def fresh() -> Iterator[Cluster]:
    """A cluster whose logs and accounts belong to one test."""
    with running_cluster(gateways=2) as running:
        yield running


def balances_moved(cluster: Cluster, accounts: list[str], opening: int) -> int:
    """What all accounts together have lost since they were opened."""
    shown = [cluster.accountctl("account", "show", account) for account in accounts]
    return sum(opening - s["token_remaining"] - s["topup_remaining"] for s in shown)


def charged(cluster: Cluster, accounts: list[str]) -> int:
    """The sum of all rows of the accounts."""
    return sum(row["total_tokens"] for a in accounts for row in cluster.usage_rows(a))


def sent(cluster: Cluster) -> int:
    """The sum of all usages in the provider's own log."""
    return sum(entry["usage"]["total_tokens"] for entry in cluster.usage_sent())


async def text_session(url: str) -> int:
    """A session of text turns; the tokens that its client saw reported."""
    update = {"type": "session.update", "session": {"type": "realtime"}}
    update["session"]["output_modalities"] = ["text"]  # type: ignore[index]
    seen = 0
    async with connect(url, max_size=None) as socket:
        await socket.send(json.dumps(update))
        for _ in range(RESPONSES):
            await socket.send(json.dumps({"type": "response.create"}))
            while (event := json.loads(await socket.recv()))["type"] != "response.done":
                assert event["type"] != "error", event
            seen += event["response"]["usage"]["total_tokens"]
    return seen


async def test_rows_balances_and_the_providers_log_agree(fresh: Cluster) -> None:
    """50 concurrent sessions of 12 responses over two gateways: all sums are the same number."""
    accounts = [f"acct-{n}" for n in range(5)]
    keys = [fresh.create_account(a, tokens=1_000_000, topup=500) for a in accounts]
    urls = [
        f"ws://{fresh.gateways[n % 2].field('listen')}/v1/realtime"
        f"?model=gpt-realtime&pace=0&rs_key={keys[n % 5]}&rs_sessid=s{n}"
        for n in range(SESSIONS)
    ]
    seen = sum(await asyncio.gather(*(text_session(url) for url in urls)))
    assert len(fresh.usage_sent()) == SESSIONS * RESPONSES
    assert sent(fresh) == seen
    eventually(lambda: charged(fresh, accounts) == seen)
    assert balances_moved(fresh, accounts, 1_000_500) == seen
    rows = [row for account in accounts for row in fresh.usage_rows(account)]
    assert sum(row["responses"] for row in rows) == SESSIONS * RESPONSES
    assert len(rows) == SESSIONS * 3, "12 responses are batches of 5, 5 and 2"
    assert fresh.audit()["ok"]


def speech_stream() -> bytes:
    """What a talking client writes after its handshake, as frames with a zero mask."""
    stream = bytearray()
    for piece in chunks(tone(0.4) + silence(0.6) + tone(0.4) + silence(0.6), 100):
        text = json.dumps(
            {"type": "input_audio_buffer.append", "audio": base64.b64encode(piece).decode()}
        ).encode()
        stream += struct.pack("!BBH", 0x81, 0x80 | 126, len(text)) + b"\0\0\0\0" + text
    return bytes(stream)


async def vanish(address: str, query: str, *, at: int, reads: float, stream: bytes) -> None:
    """Talk, listen for a while, and cut the connection after ``at`` bytes, without a goodbye."""
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"GET /v1/realtime?model=gpt-realtime&{query} HTTP/1.1\r\nHost: {address}\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    writer.write(stream[:at])
    await writer.drain()
    try:
        async with asyncio.timeout(reads):
            while await reader.read(65_536):
                pass
    except TimeoutError:
        pass
    writer.transport.abort()


def provider_connections(cluster: Cluster) -> int:
    """Established TCP connections to the simulator, counted in the kernel's own table."""
    assert cluster.simulator is not None
    port = int(cluster.simulator.field("listen").split(":")[1])
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    remote = [(line.split()[2], line.split()[3]) for line in lines]
    return sum(1 for peer, state in remote if peer.endswith(f":{port:04X}") and state == "01")


@pytest.mark.timeout(180)
async def test_clients_that_vanish_leave_nothing_behind(fresh: Cluster) -> None:
    """300 clients cut off at random bytes: no error, nothing left over, everything sent charged."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    key = fresh.create_account("vanishing")
    stream = speech_stream()

    async def one(number: int) -> None:
        query = f"pace={chance.choice([0, 2.5, 10])}&rs_key={key}&rs_sessid=v{number}"
        await vanish(
            fresh.gateways[number % 2].field("listen"), query,
            at=chance.randrange(len(stream)), reads=chance.random() * 2, stream=stream,
        )  # fmt: skip

    for start in range(0, VANISHING, 60):
        await asyncio.gather(*(one(start + n) for n in range(60)))
    with within(DRAIN_S + 2, fresh.simulator, *fresh.gateways):
        eventually(lambda: provider_connections(fresh) == 0)

    entries: list[dict[str, Any]] = fresh.usage_sent()
    assert len(entries) > 30, "the test means to cut responses off"
    assert any(entry["status"] == "cancelled" for entry in entries)
    eventually(lambda: charged(fresh, ["vanishing"]) == sent(fresh))
    assert balances_moved(fresh, ["vanishing"], 10**9) == sent(fresh)
    for daemon in (*fresh.gateways, fresh.accountd):
        assert daemon is not None
        assert daemon.complaints() == []
    assert fresh.audit()["ok"]
