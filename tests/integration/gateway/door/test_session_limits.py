"""Limits of sessions hold over all gateways, and outlive the death of any process.

Each test of a death prints how long it took until the counts were right.
"""

import asyncio
import hashlib
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response

from tests.support.harness import SETTLE_S, Cluster, Daemon, cluster_folder, eventually
from tests.support.tuned import SHORT_LEASE, SHORT_LEASE_S

GATEWAYS = 3
BY_DEFAULT = 2  # sessions of a key at a time


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Three gateways, and an accountd by which a key may have two sessions unless it is told
    otherwise.
    """
    with cluster_folder() as running:
        running.env["ACCOUNTD_KEY_LIMITS"] = f"sessions={BY_DEFAULT}"
        running.start_accountd(tuned=SHORT_LEASE)
        running.start_simulator()
        for _ in range(GATEWAYS):
            running.start_gateway(GATEWAY_OPS_LISTEN="127.0.0.1:0")
        yield running


async def accountctl(cluster: Cluster, *arguments: str) -> Any:
    """The answer of a command that must succeed."""
    return await asyncio.to_thread(cluster.accountctl, *arguments)


async def new_key(cluster: Cluster, account: str, *limits: str) -> str:
    """A key of an account, which is made where there is none, with limits of its own."""
    found = await accountctl(cluster, "account", "list", "--search", account)
    if not found["accounts"]:
        await asyncio.to_thread(cluster.create_account, account)
    made = await accountctl(cluster, "key", "create", account, "--label", "x")
    if limits:
        await accountctl(cluster, "key", "limit", made["key_hash"], *limits)
    return str(made["key"])


async def counted(cluster: Cluster, account: str, count: int) -> None:
    """Wait until accountd counts so many sessions of the account."""

    def is_so() -> bool:
        return cluster.accountctl("account", "show", account)["sessions_counted"] == count

    await asyncio.to_thread(eventually, is_so)


class Crowd:
    """Clients of several gateways; they stay until the end of ``crowd``, or are closed before."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.live: list[ClientConnection] = []
        self.refused: list[tuple[int, str, str | None]] = []  # status, code, Retry-After

    async def try_at(self, gateway: Daemon, key: str) -> ClientConnection | None:
        """The session that this gateway opens, once it has begun; None where it refuses."""
        url = f"ws://{gateway.field('listen')}/v1/realtime?model=gpt-realtime&rs_key={key}"
        try:
            client = await self._stack.enter_async_context(connect(url, open_timeout=None))
        except InvalidStatus as exc:
            self.refused.append(told(exc.response))
            return None
        assert json.loads(await client.recv())["type"] == "session.created"
        self.live.append(client)
        return client

    async def try_everywhere(self, cluster: Cluster, key: str, each: int) -> None:
        """So many clients come to each gateway at once."""
        gateways = cluster.gateways * each
        await asyncio.gather(*(self.try_at(gateway, key) for gateway in gateways))

    async def until_let_in(self, gateway: Daemon, key: str) -> None:
        """Try again and again."""
        async with asyncio.timeout(SETTLE_S):
            while True:
                if await self.try_at(gateway, key):
                    return
                await asyncio.sleep(0.02)


def told(response: Response) -> tuple[int, str, str | None]:
    """What a refusal says: status, code, when to come again."""
    code = json.loads(response.body or b"")["error"]["code"]
    return response.status_code, code, response.headers.get("Retry-After")


@asynccontextmanager
async def crowd() -> AsyncIterator[Crowd]:
    """One for a test."""
    async with AsyncExitStack() as stack:
        yield Crowd(stack)


TOO_MANY = (429, "too_many_sessions", "5")


async def test_a_limit_holds_over_all_gateways(cluster: Cluster) -> None:
    """Of thirty clients at once five are let in; one that leaves makes place for one."""
    key = await new_key(cluster, "crowded", "--sessions", "5")
    async with crowd() as clients:
        await clients.try_everywhere(cluster, key, each=10)
        assert len(clients.live) == 5
        assert clients.refused == [TOO_MANY] * 25
        await counted(cluster, "crowded", 5)
        await clients.live[0].close()
        await clients.until_let_in(cluster.gateways[0], key)
        await clients.try_everywhere(cluster, key, each=2)
        assert len(clients.live) == 5 + 1
        assert set(clients.refused) == {TOO_MANY}
    await counted(cluster, "crowded", 0)


async def test_a_key_and_its_account(cluster: Cluster) -> None:
    """The setting limits each key, and what was set for the account all its keys together; a
    change counts for the next session.
    """
    keys = [await new_key(cluster, "company") for _ in range(2)]
    await accountctl(cluster, "account", "limit", "company", "--sessions", "3")
    async with crowd() as clients:
        for key, live in zip(keys, (BY_DEFAULT, 3), strict=True):
            await clients.try_everywhere(cluster, key, each=1)
            assert len(clients.live) == live
        assert set(clients.refused) == {TOO_MANY}
        await accountctl(cluster, "account", "limit", "company", "--sessions", "none")
        await clients.try_everywhere(cluster, keys[1], each=1)
        assert len(clients.live) == 2 * BY_DEFAULT
        name = hashlib.sha256(keys[1].encode()).hexdigest()
        await accountctl(cluster, "key", "limit", name, "--sessions", "none")
        await clients.try_everywhere(cluster, keys[1], each=1)
        assert len(clients.live) == 2 * BY_DEFAULT + GATEWAYS


async def test_new_sessions_a_minute(cluster: Cluster) -> None:
    """Over all gateways; they need not live on. The next one may come when it is said."""
    key = await new_key(cluster, "hasty", "--new-sessions", "6", "--sessions", "none")
    async with crowd() as clients:
        await clients.try_everywhere(cluster, key, each=4)
        assert len(clients.live) == 6
        assert len(clients.refused) == 6
    for status, code, wait_s in clients.refused:
        assert (status, code) == (429, "too_many_new_sessions")
        assert 0 < int(wait_s or "0") <= 10


async def test_an_accountd_that_is_killed_counts_on(cluster: Cluster) -> None:
    """Its successor is told what lives, by every gateway, and no session ends."""
    key = await new_key(cluster, "patient", "--sessions", "3")
    async with crowd() as clients:
        await clients.try_everywhere(cluster, key, each=1)
        assert cluster.accountd is not None
        cluster.accountd.stop(signal.SIGKILL)
        await asyncio.to_thread(cluster.start_accountd, tuned=SHORT_LEASE)
        since = time.monotonic()
        await counted(cluster, "patient", GATEWAYS)
        print(f"counted again {time.monotonic() - since:.2f} s after accountd was ready")
        await clients.try_everywhere(cluster, key, each=1)
        assert clients.refused == [TOO_MANY] * GATEWAYS
        for client in clients.live:
            await asyncio.wait_for(await client.ping(), 10)
        await clients.live[0].close()
        await clients.until_let_in(cluster.gateways[1], key)


async def test_the_sessions_of_a_killed_gateway_are_free(cluster: Cluster) -> None:
    """Soon, and not at once: it may only be late. One that is heard again is counted again."""
    key = await new_key(cluster, "bereft")
    first, late, dead = cluster.gateways
    async with crowd() as clients:
        for gateway in (late, dead):
            assert await clients.try_at(gateway, key)
        late.process.send_signal(signal.SIGSTOP)
        dead.stop(signal.SIGKILL)
        since = time.monotonic()
        assert await clients.try_at(first, key) is None
        await clients.until_let_in(first, key)
        print(f"free {time.monotonic() - since:.2f} s after SIGKILL, of {SHORT_LEASE_S:g} s")
        await counted(cluster, "bereft", 1)
        late.process.send_signal(signal.SIGCONT)
        await counted(cluster, "bereft", 2)
        assert await clients.try_at(first, key) is None
