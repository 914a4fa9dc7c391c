"""The gateway's requests, answered by a real accountd."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import zmq.asyncio

from gateway.accountd_client.rpc_client import NO_PRODUCER, RpcClient
from tests.support.harness import Cluster, cluster_folder

DEADLINE_S = 20.0


@pytest.fixture
async def client() -> AsyncIterator[RpcClient]:
    """A client of an accountd with one account, ``acct``, of 1,000 tokens."""
    context = zmq.asyncio.Context()
    with cluster_folder() as cluster:
        await asyncio.to_thread(_start, cluster)
        rpc = RpcClient(context, cluster.env["ACCOUNTD_RPC_ENDPOINT"], grant_cache_s=0)
        rpc.start()
        async with asyncio.timeout(DEADLINE_S):
            while not rpc.is_reachable:  # noqa: ASYNC110 - it has no event of its own to await
                await asyncio.sleep(0.01)
        yield rpc
        await rpc.close()
    context.term()


def _start(cluster: Cluster) -> None:
    cluster.start_accountd()
    cluster.create_account("acct", tokens=1_000)


@pytest.mark.parametrize("producers", [[], [b"p" * 16], [NO_PRODUCER]])
async def test_a_balance_is_answered_whatever_waits_for_it(
    client: RpcClient, producers: list[bytes]
) -> None:
    """After the last message is durable no producer waits, and a balance may still be missing."""
    (balance,) = await client.balances(["acct"], producers)
    assert (balance.account_id, balance.credits) == ("acct", 1_000)
