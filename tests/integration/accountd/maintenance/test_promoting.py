"""A standby that lacks usage is promoted: the gateways send it again."""

import asyncio
import signal
from collections.abc import Iterator

import pytest

from tests.support.conversation import charged_ids, conversation
from tests.support.harness import Cluster, eventually, running_cluster
from tests.support.standby import Standby


@pytest.fixture
def talking() -> Iterator[tuple[Cluster, Standby]]:
    """accountd, a provider and a gateway with a spool; a standby that follows."""
    with running_cluster() as cluster:
        standby = Standby(cluster, cluster.folder / "standby.db")
        try:
            standby.start()
            yield cluster, standby
        finally:
            standby.end()


async def test_usage_that_a_standby_lacks_comes_again(talking: tuple[Cluster, Standby]) -> None:
    """It was durable on the primary after the follower had ended; a session talks all the time."""
    cluster, standby = talking
    key = cluster.create_account("acct")
    assert cluster.accountd is not None
    assert standby.daemon is not None
    async with conversation(cluster.url, key) as client:
        received = await client.respond_times(5)
        await asyncio.to_thread(eventually, lambda: len(charged_ids(cluster, "acct")) == 5)
        await asyncio.to_thread(standby.catch_up)
        assert await asyncio.to_thread(standby.daemon.stop) == 0
        received += await client.respond_times(5)
        await asyncio.to_thread(eventually, lambda: len(charged_ids(cluster, "acct")) == 10)
        cluster.accountd.stop(signal.SIGKILL)
        received += await client.respond_times(2)
        found = await asyncio.to_thread(standby.promote)
        assert found["found"]["last_usage_row"] == 1, "the standby was meant to lack a batch"
        cluster.env["DB_PATH"] = str(standby.path)
        await asyncio.to_thread(cluster.start_accountd)
        received += await client.respond_times(1)
    await asyncio.to_thread(eventually, lambda: charged_ids(cluster, "acct") == sorted(received))
    assert cluster.audit()["ok"]
