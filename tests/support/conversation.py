"""Conversations for tests: quick written responses, each known by its id."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.support.harness import Cluster

_WRITTEN = {
    "type": "session.update",
    "session": {"type": "realtime", "output_modalities": ["text"]},
}
_RESPOND = json.dumps({"type": "response.create"})


class Conversation:
    """A client that asks for one response after another."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def respond(self) -> str:
        """Ask for a response and hear it to its end; its id."""
        await self.socket.send(_RESPOND)
        while (event := json.loads(await self.socket.recv()))["type"] != "response.done":
            assert event["type"] != "error", event
        return str(event["response"]["id"])

    async def respond_times(self, count: int) -> list[str]:
        """So many responses, one after the other."""
        return [await self.respond() for _ in range(count)]


@asynccontextmanager
async def conversation(url: str, key: str, **query: Any) -> AsyncIterator[Conversation]:
    """A session that writes as fast as it can."""
    extra = "".join(f"&{name}={value}" for name, value in query.items())
    address = f"{url}?model=gpt-realtime&pace=0&rs_key={key}{extra}"
    async with connect(address, max_size=None) as socket:
        await socket.send(json.dumps(_WRITTEN))
        yield Conversation(socket)


def charged_ids(cluster: Cluster, account: str) -> list[str]:
    """The responses in the rows of an account, sorted; whoever was charged twice is there twice."""
    return sorted(name for row in cluster.usage_rows(account) for name in row["response_ids"])
