"""Names that begin again on every connection do not keep a retry from charging what was not."""

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection

from gateway.delivery.journal_format import HEADER_BYTES
from tests.support.fake_provider import scripted
from tests.support.harness import Cluster, eventually
from tests.support.simulator_client import Event, send
from tests.support.simulator_client_gemini import PATH, SETUP, content

LIVE = "/v1/live/sessions"
USAGE = {"promptTokenCount": 30, "responseTokenCount": 12, "totalTokenCount": 42}
TURN = {"serverContent": {"turnComplete": True}, "usageMetadata": USAGE}


async def gemini(provider: ServerConnection) -> None:
    """Every turn costs the same."""
    await provider.recv()
    await provider.send(b'{"setupComplete":{}}')
    async for _ in provider:
        await provider.send(json.dumps(TURN).encode())


async def live(provider: ServerConnection) -> None:
    """Every session lasts for a minute."""
    await provider.recv()
    started = {"type": "session.started", "session": {"id": "s", "model": "gpt-live-1"}}
    await provider.send(json.dumps(started))
    async for text in provider:
        is_over = json.loads(text)["type"] == "session.close"
        kind = "session.closed" if is_over else "session.usage.updated"
        await provider.send(json.dumps({"type": kind, "usage": {"seconds": 60.0}}))


SESSIONS: list[
    tuple[str, Callable[[ServerConnection], Awaitable[None]], str, list[Event], str, str]
] = [
    ("Gemini's turns", gemini, PATH, [{"setup": SETUP}, content("hello")], "serverContent",
     "turn_1"),
    ("GPT-Live's seconds", live, LIVE,
     [{"type": "session.start", "session": {"model": "gpt-live-1"}},
      {"type": "session.input_audio.append", "audio": "UklG"}], "usage", "60000 ms"),
]  # fmt: skip


async def metered(
    cluster: Cluster, key: str, path: str, messages: list[Event], told_by: str
) -> ClientConnection:
    """A session of the name ``s1`` in which something has been metered."""
    socket = await connect(f"ws://{cluster.address}{path}?rs_key={key}&rs_sessid=s1")
    await send(socket, *messages)
    async with asyncio.timeout(20):
        while told_by not in json.loads(await socket.recv()):
            pass
    return socket


def damage(cluster: Cluster) -> None:
    """Flip bits in the first record of the one journal."""
    (path,) = (
        path
        for path in (cluster.folder / "spool").glob("*/[0-9]*")
        if path.stat().st_size > HEADER_BYTES
    )
    garbled = bytearray(path.read_bytes())
    garbled[HEADER_BYTES + 30] ^= 0xFF
    Path(path).write_bytes(garbled)


@pytest.mark.parametrize(
    ("what", "script", "path", "messages", "told_by", "name"), SESSIONS,
    ids=[session[0] for session in SESSIONS],
)  # fmt: skip
async def test_a_retry_charges_what_only_has_the_same_name(
    what: str,
    script: Callable[[ServerConnection], Awaitable[None]],
    path: str,
    messages: list[Event],
    told_by: str,
    name: str,
) -> None:
    """A session is charged; the next one of its name meters the first of it again, and its gateway
    is killed and its spool damaged: the retry charges that.
    """
    async with scripted(script) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "acct")
        first = await metered(cluster, key, path, messages, told_by)
        await first.close()
        await asyncio.to_thread(eventually, lambda: len(cluster.usage_rows("acct")) == 1)
        second = await metered(cluster, key, path, messages, told_by)
        await asyncio.to_thread(cluster.gateways.pop(0).stop, signal.SIGKILL)
        second.transport.abort()
        damage(cluster)
        await asyncio.to_thread(cluster.start_gateway)
        await asyncio.to_thread(eventually, lambda: cluster.audit()["rejected"] == 1)
        (rejected,) = (await asyncio.to_thread(cluster.accountctl, "rejected", "list"))["rejected"]
        assert (rejected["reason"], rejected["session_id"]) == ("doubtful", "s1")
        retried = ("rejected", "retry", str(rejected["id"]))
        done = await asyncio.to_thread(cluster.accountctl, *retried)
        assert done["ok"], what
        rows = await asyncio.to_thread(cluster.usage_rows, "acct")
        audit = await asyncio.to_thread(cluster.audit)
    names = [each for row in rows for each in row["response_ids"]]
    assert [each.rpartition(" ")[0] for each in names] == [name, name]
    assert len(set(names)) == 2
    assert {row["session_id"] for row in rows} == {"s1"}
    assert audit["ok"]
