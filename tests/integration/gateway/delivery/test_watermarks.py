"""How a gateway reacts to every watermark that accountd may announce, or fail to announce."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.limits import RESEND_JITTER, RESEND_S
from shared.usage import UsageBatch
from shared.wire import decode_usage
from tests.support.conversation import Conversation, conversation
from tests.support.fake_accountd import FakeAccountd, fake_accountd
from tests.support.harness import Cluster, cluster_folder, eventually
from tests.support.http_client import readiness
from tests.support.tuned import LATE_RESENDS, SMALL_OUTBOX, Constants

KEY = "rslive_v1_" + "0" * 48
BATCH = 5  # responses
QUIET_S = 1.5  # longer than the first resend takes
FIRST_S, SECOND_S = ((1 - RESEND_JITTER) * RESEND_S, (1 - RESEND_JITTER) * 2 * RESEND_S)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A simulator; accountd is a fake."""
    with cluster_folder() as made:
        made.env["GATEWAY_OPS_LISTEN"] = "127.0.0.1:0"
        made.start_simulator()
        yield made
        for (
            gateway
        ) in made.gateways:  # their end markers are never acknowledged: SIGTERM would take seconds
            gateway.stop(signal.SIGKILL)


@pytest.fixture
def accountd(cluster: Cluster) -> Iterator[FakeAccountd]:
    """It answers no ``sync``, unless a test says otherwise."""
    with fake_accountd(cluster.env) as fake:
        yield fake


async def meter(cluster: Cluster, responses: int = BATCH) -> float:
    """A session of so many responses through the first gateway; the time of the last request."""
    async with conversation(cluster.url, KEY) as client:
        await client.respond_times(responses - 1)
        asked_at = time.monotonic()
        await client.respond()
    return asked_at


async def sent_once(
    cluster: Cluster, accountd: FakeAccountd, tuned: Constants | None = None
) -> float:
    """Start a gateway and leave its first message in flight; a time just before it was sent."""
    cluster.start_gateway(tuned=tuned)
    asked_at = await meter(cluster)
    eventually(lambda: accountd.arrived(1))
    return asked_at


@contextmanager
def sent_again(accountd: FakeAccountd) -> Iterator[None]:
    """What is done inside causes a resend of the first message; wait for that."""
    before = len(accountd.arrived(1))
    yield
    eventually(lambda: len(accountd.arrived(1)) > before)


def not_sent_again(cluster: Cluster, accountd: FakeAccountd) -> None:
    """Everything is acknowledged, and nothing is sent after that."""
    gateway = cluster.gateways[0]
    eventually(lambda: gateway.metrics()["rts_gateway_outbox_batches"] == 0)
    sent = gateway.metrics()["rts_gateway_messages_sent_total"]
    eventually(lambda: len(accountd.arrivals) == sent)
    quiet_from = time.monotonic()
    while time.monotonic() - quiet_from < QUIET_S:
        assert len(accountd.arrivals) == sent
        time.sleep(0.05)


def log_lines(cluster: Cluster, event: str) -> list[str]:
    """What the first gateway logged under that name."""
    return [x for x in cluster.gateways[0].log.read_text().splitlines() if event in x]


async def test_a_lost_watermark_costs_resends_until_the_next(
    cluster: Cluster, accountd: FakeAccountd
) -> None:
    """Resends come after one second, then two, and end with the watermark; sync is asked for."""
    # From a moment before the first was sent: none is noted before it came, but perhaps long after.
    began = await sent_once(cluster, accountd)
    eventually(lambda: len(accountd.arrived(1)) >= 3)
    _, second, third = accountd.arrived(1)[:3]
    assert second - began > FIRST_S
    assert third - began > FIRST_S + SECOND_S
    # PUB was silent: sync is the way out.
    eventually(lambda: any(at > began for at in accountd.questions))
    accountd.announce(1)
    not_sent_again(cluster, accountd)
    assert cluster.gateways[0].complaints() == []


async def test_an_answer_to_sync_is_as_good_as_an_announcement(
    cluster: Cluster, accountd: FakeAccountd
) -> None:
    """Without any announcement the batch is settled by ``sync``, and the gateway exits with 0."""
    await sent_once(cluster, accountd)
    asked = len(accountd.questions)
    accountd.is_mute, accountd.applied_through = False, 1
    eventually(lambda: len(accountd.questions) > asked)
    not_sent_again(cluster, accountd)
    accountd.applied_through = 2  # its end marker
    assert await asyncio.to_thread(cluster.gateways[0].stop) == 0


async def test_a_doubled_watermark_changes_nothing(
    cluster: Cluster, accountd: FakeAccountd
) -> None:
    """Announcements are repeated twice a second: that logs nothing and resends nothing."""
    await sent_once(cluster, accountd)
    for _ in range(3):
        accountd.announce(1)
    not_sent_again(cluster, accountd)
    assert cluster.gateways[0].complaints() == []


IGNORED = [
    ("forged", lambda accountd: accountd.announce(99)),
    ("stale", lambda accountd: accountd.announce(1, epoch=9)),
]


@pytest.mark.parametrize(("reason", "announce"), IGNORED)
async def test_a_watermark_that_cannot_be_is_a_log_line(
    cluster: Cluster,
    accountd: FakeAccountd,
    reason: str,
    announce: Callable[[FakeAccountd], None],
) -> None:
    """Beyond what was sent, or of an older boot: the batch is sent until it is durable."""
    await sent_once(cluster, accountd)
    accountd.announce(0)
    for _ in range(3):
        announce(accountd)
    eventually(lambda: log_lines(cluster, "watermark ignored"))
    with sent_again(accountd):
        pass  # it is overdue by and by
    (line,) = log_lines(cluster, "watermark ignored")
    assert f"reason={reason}" in line
    accountd.announce(1)
    not_sent_again(cluster, accountd)


async def test_a_new_boot_that_knows_less_is_refilled_at_once(
    cluster: Cluster, accountd: FakeAccountd
) -> None:
    """A restored backup: what was durable once is sent again from the journal, and alarmed."""
    await sent_once(cluster, accountd, LATE_RESENDS)
    accountd.announce(1)
    not_sent_again(cluster, accountd)
    (before,) = {a.envelope.payload for a in accountd.arrivals if a.sequence == 1}
    with sent_again(accountd):
        accountd.announce(0, epoch=11)
    assert accountd.arrivals[-1].envelope.payload == before
    (line,) = log_lines(cluster, "accountd lost what was durable")
    assert "level=error" in line


async def test_a_new_connection_is_a_reason_to_send_again(
    cluster: Cluster, accountd: FakeAccountd
) -> None:
    """Messages in flight may be lost with the old connection; the timer would take minutes."""
    await sent_once(cluster, accountd, LATE_RESENDS)
    with sent_again(accountd):
        accountd.end()
        accountd.begin()


async def sent_away(client: Conversation) -> int | None:
    """The code with which the gateway closes a session."""
    with pytest.raises(ConnectionClosed):
        while True:
            await client.socket.recv()
    return client.socket.close_code


async def test_a_full_outbox_takes_no_more_sessions_and_drops_nothing(
    cluster: Cluster, accountd: FakeAccountd
) -> None:
    """Live sessions are closed with 1013; their usage is kept, and sent later."""
    cluster.start_gateway(tuned=SMALL_OUTBOX)
    async with conversation(cluster.url, KEY) as live:
        received = await live.respond_times(2)
        async with conversation(cluster.url, KEY) as busy:
            received += await busy.respond_times(3 * BATCH)
            assert [await sent_away(client) for client in (live, busy)] == [1013, 1013]
    ready = await asyncio.to_thread(readiness, cluster.address)
    assert ready == (503, "outbox full")
    with pytest.raises(InvalidStatus, match="503"):
        await connect(f"{cluster.url}?model=gpt-realtime&rs_key={KEY}")
    eventually(lambda: accountd.arrived(4))
    usages = {a.sequence: decode_usage(a.envelope.payload) for a in accountd.arrivals}
    batches = [usage for usage in usages.values() if isinstance(usage, UsageBatch)]
    assert sorted(name for batch in batches for name in batch.response_ids) == sorted(received)
    accountd.announce(4)
    eventually(lambda: readiness(cluster.address) == (200, ""))
    await meter(cluster, 1)


FATES = [("", "lost: there is no spool"), ("spool", "the next gateway sends it")]


@pytest.mark.parametrize(("spool", "fate"), FATES)
async def test_an_end_without_accountd_says_what_is_left(
    cluster: Cluster, accountd: FakeAccountd, spool: str, fate: str
) -> None:
    """Exit code 75, and a line with the number of messages and their fate."""
    cluster.start_gateway(GATEWAY_SPOOL_DIR=spool and str(cluster.folder / spool))
    await meter(cluster)
    accountd.end()
    assert await asyncio.to_thread(cluster.gateways[0].stop) == 75
    (line,) = log_lines(cluster, "usage not delivered")
    assert "batches=2" in line  # with the end marker
    assert fate in line
