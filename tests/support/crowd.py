"""Twenty clients of one key at several gateways: of both protocols, some hearing a long answer."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.harness import Cluster, eventually
from tests.support.simulator_client_gemini import PATH as GEMINI

CLIENTS = 20
# An answer of thirty seconds: it is still being spoken when its session is ended.
LONG = "sim-pace-1,reply_ms-30000"
HEARD_S = 20.0


@dataclass
class Member:
    """One client. ``error`` is the code of the last event that it heard, if that is an error;
    ``closed_at`` is in Unix seconds.
    """

    socket: ClientConnection
    is_gemini: bool
    name: str
    error: str | None = None
    code: int | None = None
    reason: str = ""
    closed_at: float = 0.0

    async def begin(self, *, is_streaming: bool) -> None:
        """Set the session up, and hear the beginning of an answer, if one is wanted."""
        if self.is_gemini:
            await self._send({"setup": {"model": f"models/{LONG}"}})
            await self._until('"setupComplete"')
            turns = [{"role": "user", "parts": [{"text": "Go on."}]}]
            asked = {"clientContent": {"turns": turns, "turnComplete": True}}
        else:
            await self._until('"session.created"')
            asked = {"type": "response.create"}
        if is_streaming:
            await self._send(asked)
            await self._until('"inlineData"' if self.is_gemini else "audio.delta")

    async def hear(self) -> None:
        """Listen until the close."""
        try:
            async with asyncio.timeout(HEARD_S):
                while True:
                    event = json.loads(await self.socket.recv())
                    self.error = event.get("error", {}).get("code")
        except ConnectionClosed as closed:
            self.closed_at = time.time()
            if closed.rcvd is not None:
                self.code, self.reason = closed.rcvd.code, closed.rcvd.reason

    async def is_live(self) -> bool:
        """Whether the session goes on: a ping is answered, and no close has come."""
        async with asyncio.timeout(HEARD_S):
            await (await self.socket.ping())
        return self.socket.close_code is None

    async def _send(self, event: dict[str, Any]) -> None:
        await self.socket.send(json.dumps(event))

    async def _until(self, part: str) -> None:
        async with asyncio.timeout(HEARD_S):
            while True:
                message = await self.socket.recv()
                text = message if isinstance(message, str) else message.decode()
                if part in text:
                    return


@asynccontextmanager
async def crowd(
    cluster: Cluster, key: str, *, clients: int = CLIENTS
) -> AsyncIterator[list[Member]]:
    """Clients one after the other at each gateway: half of Gemini, half with a long answer."""
    async with AsyncExitStack() as stack:
        members = []
        for number in range(clients):
            gateway = cluster.gateways[number % len(cluster.gateways)].field("listen")
            is_gemini, name = number % 4 < 2, f"member-{number}"
            path = f"{GEMINI}?" if is_gemini else f"/v1/realtime?model={LONG}&"
            socket = await stack.enter_async_context(
                connect(
                    f"ws://{gateway}{path}rs_sessid={name}-{key[-6:]}&rs_key={key}", max_queue=None
                )
            )
            members.append(Member(socket, is_gemini, f"{name}-{key[-6:]}"))
        starts = [m.begin(is_streaming=number % 2 == 0) for number, m in enumerate(members)]
        await asyncio.gather(*starts)
        yield members


async def heard(members: list[Member]) -> None:
    """Listen at all of them until they are closed."""
    await asyncio.gather(*(member.hear() for member in members))


def told(members: list[Member]) -> set[tuple[bool, str | None, int | None, str]]:
    """Of each protocol (whether Gemini's): the error event's code, the close and its reason."""
    return {(m.is_gemini, m.error, m.code, m.reason) for m in members}


def ended_with(code: str) -> set[tuple[bool, str | None, int | None, str]]:
    """What ``told`` is where all were told the same; Gemini's SDK knows no error event."""
    return {(False, code, 1008, code), (True, None, 1008, code)}


async def charged(cluster: Cluster, account: str, *, responses: int) -> None:
    """An account has had so many responses; and everything that the provider has ever reported is
    charged, to the token and once, and nothing else.
    """

    def found(*accounts: str) -> tuple[int, int]:
        rows = [row for name in accounts for row in cluster.usage_rows(name)]
        assert {row["kind"] for row in rows} <= {"response"}
        return sum(row["responses"] for row in rows), sum(row["total_tokens"] for row in rows)

    def is_charged() -> bool:
        charges = [usage["charge"]["total_tokens"] for usage in cluster.usage_sent()]
        rows = cluster.ask("account.list", limit=None)["accounts"]
        everything = found(*(row["id"] for row in rows))
        return everything == (len(charges), sum(charges)) and found(account)[0] == responses

    await asyncio.to_thread(eventually, is_charged)
    assert (await asyncio.to_thread(cluster.audit))["ok"]
