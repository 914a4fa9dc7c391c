"""What an operator takes back ends at every gateway, and what was used is charged."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.crowd import CLIENTS, Member, charged, crowd, ended_with, heard, told
from tests.support.harness import Cluster, cluster_folder
from tests.support.named_sessions import providers

GATEWAYS = 3
STREAMING = CLIENTS // 2


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    """Three gateways with ephemeral keys, started beside the test's own event loop."""
    context = cluster_folder()
    running = await asyncio.to_thread(context.__enter__)
    try:
        await asyncio.to_thread(running.start_accountd)
        await asyncio.to_thread(running.start_simulator)
        for _ in range(GATEWAYS):
            await asyncio.to_thread(lambda: running.start_gateway(**providers(running)))
        yield running
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


async def accountctl(cluster: Cluster, *arguments: str) -> Any:
    """The answer of a command that must succeed."""
    return await asyncio.to_thread(cluster.accountctl, *arguments)


def show(name: str, since: float, members: list[Member]) -> None:
    """Print how long the closes took: what is promised is 2 s, which no test can assert."""
    took = [member.closed_at - since for member in members]
    print(f"{name}: median {statistics.median(took):.3f} s, worst {max(took):.3f} s")


async def test_a_revoked_keys_sessions_end_everywhere(cluster: Cluster) -> None:
    """Of both protocols, speaking or idle, with the words of each; those of another key go on."""
    key = await asyncio.to_thread(cluster.create_account, "acct")
    other = await asyncio.to_thread(cluster.create_account, "other")
    indicator = (await accountctl(cluster, "key", "list", "acct"))["keys"][0]["key_indicator"]
    async with crowd(cluster, other, clients=4) as others:
        async with crowd(cluster, key) as members:
            since = time.time()
            await accountctl(cluster, "key", "revoke", indicator)
            await heard(members)
        assert told(members) == ended_with("invalid_api_key")
        show("key revoke", since, members)
        assert all([await member.is_live() for member in others])
    await charged(cluster, "acct", "other", responses=STREAMING + 2)
