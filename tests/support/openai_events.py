"""What a scripted provider of OpenAI's family says, a client of it, and what it was charged."""

import asyncio
import json
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.support.harness import Cluster, eventually

Event = dict[str, Any]
USAGE = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}


def created(response_id: str = "resp_1") -> str:
    """A response begins."""
    event = {"type": "response.created", "response": {"id": response_id, "usage": None}}
    return json.dumps(event, separators=(",", ":"))


def done(response_id: str = "resp_1", usage: object = USAGE) -> str:
    """A response ends."""
    event = {"type": "response.done", "response": {"id": response_id, "usage": usage}}
    return json.dumps(event, separators=(",", ":"))


def audio(seconds: float) -> str:
    """So much of the reply's audio."""
    delta = "A" * int(64_000 * seconds)
    return json.dumps(
        {"type": "response.output_audio.delta", "delta": delta}, separators=(",", ":")
    )


async def client(cluster: Cluster, account: str = "acct") -> ClientConnection:
    """A session of a new account."""
    key = await asyncio.to_thread(cluster.create_account, account)
    return await connect(f"{cluster.url}?model=gpt-realtime&rs_key={key}", max_size=None)


async def rows(cluster: Cluster, count: int, seconds: float = 20) -> list[Event]:
    """The account's rows, once there are so many."""
    return await asyncio.to_thread(
        eventually, lambda: (r := cluster.usage_rows("acct")) and len(r) >= count and r,
        seconds=seconds,
    )  # fmt: skip
