"""The spool of a gateway that was killed: the next one, or a neighbour, charges what is in it."""

import asyncio
import signal
from collections.abc import Iterator

import pytest
from harness import Cluster, Daemon, eventually, running_cluster
from talk import charged_ids, talk

ADOPTED_S = 10.0  # a neighbour looks every 5 s


@pytest.fixture
def fresh() -> Iterator[Cluster]:
    """A cluster of its own, because the test kills its parts."""
    with running_cluster() as running:
        yield running


def kill(daemon: Daemon | None) -> None:
    """Not even a last write."""
    assert daemon is not None
    daemon.stop(signal.SIGKILL)


async def metered(cluster: Cluster, account: str, count: int) -> list[str]:
    """Responses that a client of the first gateway has received when that gateway is killed."""
    key = cluster.create_account(account)
    async with talk(cluster.url, key) as client:
        received = await client.respond_times(count)
        kill(cluster.gateways.pop(0))
    return sorted(received)


def charge(cluster: Cluster, account: str, received: list[str], *, seconds: float = 20.0) -> None:
    """Wait until exactly these responses are charged, and the books are in order."""
    eventually(lambda: charged_ids(cluster, account) == received, seconds=seconds)
    audit = eventually(lambda: (a := cluster.audit()) and not a["producers"].get("open") and a)
    assert audit["ok"]


async def test_the_next_gateway_charges_what_a_killed_one_had_metered(fresh: Cluster) -> None:
    """Three responses, fewer than a batch: only the spool knows them."""
    received = await metered(fresh, "acct", 3)
    assert charged_ids(fresh, "acct") == []
    fresh.start_gateway()
    charge(fresh, "acct", received)


async def test_batches_and_single_responses_survive_together(fresh: Cluster) -> None:
    """Two batches that were sent and two responses that were not: nothing twice, nothing lost."""
    received = await metered(fresh, "acct", 12)
    fresh.start_gateway()
    charge(fresh, "acct", received)
    assert [row["responses"] for row in fresh.usage_rows("acct")] == [2, 5, 5]


async def test_usage_survives_when_both_daemons_were_away(fresh: Cluster) -> None:
    """accountd dies first, the gateway meters on and dies too: its batches are sent by the next."""
    assert fresh.accountd is not None
    key = fresh.create_account("acct")
    async with talk(fresh.url, key) as client:
        received = await client.respond_times(1)
        kill(fresh.accountd)
        received += await client.respond_times(12)
        kill(fresh.gateways.pop(0))
    await asyncio.to_thread(fresh.start_accountd)
    fresh.start_gateway()
    charge(fresh, "acct", sorted(received))


async def test_a_neighbour_adopts_without_a_restart(fresh: Cluster) -> None:
    """A gateway that lives on takes over what the killed one left, within seconds."""
    fresh.start_gateway()
    received = await metered(fresh, "acct", 3)
    charge(fresh, "acct", received, seconds=ADOPTED_S)
    assert "spool adopted" in fresh.gateways[0].log.read_text()
