"""A gateway is killed during sessions that report late or never: their audio is still charged."""

import asyncio
import base64
import json
import signal
from typing import Any

import pytest
from clients.surroundings import every_provider
from websockets.asyncio.client import ClientConnection, connect

from tests.support.harness import Cluster, eventually

SECOND = base64.b64encode(bytes(48_000)).decode()
MINUTE_MS = 60_000


def opened(cluster: Cluster, key: str, target: str) -> connect:
    """A connection of the account."""
    headers = {"Authorization": f"Bearer {key}"}
    return connect(f"ws://{cluster.address}{target}", additional_headers=headers, max_size=None)


async def say(client: ClientConnection, seconds: int, kind: str) -> None:
    """So much audio, a second in each message."""
    for _ in range(seconds):
        await client.send(json.dumps({"type": kind, "audio": SECOND}))


async def heard(client: ClientConnection, kind: str, count: int = 1) -> None:
    """Wait for so many events of the provider's."""
    while count:
        count -= json.loads(await client.recv())["type"] == kind


async def kill(cluster: Cluster) -> None:
    """Kill the gateway, and start another one in its place."""
    await asyncio.to_thread(cluster.gateways.pop(0).stop, signal.SIGKILL)
    await asyncio.to_thread(cluster.start_gateway)


async def rows(cluster: Cluster, account: str) -> list[dict[str, Any]]:
    """The account's, once what was killed is charged."""

    def settled() -> Any:
        audit = cluster.audit()
        assert audit["ok"]
        return audit["producers"]["open"] == 0 and cluster.usage_rows(account)

    found = await asyncio.to_thread(eventually, settled)
    assert isinstance(found, list)
    return found


async def test_the_minutes_of_a_translation_survive() -> None:
    """All but the last one, which had not ended."""
    with every_provider(pace=0) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "abroad")
        target = "/v1/realtime/translations?model=gpt-realtime-translate"
        async with opened(cluster, key, target) as client:
            await asyncio.gather(
                say(client, 130, "session.input_audio_buffer.append"),
                heard(client, "session.output_audio.delta", 130 * 5),
            )
            await kill(cluster)
        charged = await rows(cluster, "abroad")
        assert {row["kind"] for row in charged} == {"estimated_duration"}
        assert sum(row["billed_ms"] for row in charged) == pytest.approx(2 * MINUTE_MS, rel=0.01)
