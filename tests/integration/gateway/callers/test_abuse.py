"""Abuse of many kinds at once, in short: honest clients are served meanwhile. ``tests.chaos.abuse``
has each kind alone, with more of them, and measures.
"""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from threading import Thread

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.chaos.abuse.abusers import Plan
from tests.chaos.abuse.run import ABUSERS, Process
from tests.chaos.abuse.watch import Watch
from tests.chaos.abuse.wire import Place
from tests.support.harness import Cluster, cluster_folder, eventually
from tests.support.ports import free_ports
from tests.support.simulator_client import write

CROWDS = {
    "header_bomb": 20, "long_uri": 20, "unread_answer": 40, "unread_metrics": 60, "fragments": 4,
    "pings": 6, "tiny": 4, "before_provider": 20, "unfinished": 20, "slow_handshake": 100,
}  # fmt: skip
ANSWERED = 4
MEMORY_MIB = 400
# A client may wait for its provider for as long as it takes to start one on a busy machine.
FEW_BYTES = {
    "gateway.connections.held_bytes.RECEIVE_QUEUES_BYTES_MAX": 200_000,
    "gateway.connections.held_bytes.RECEIVE_QUEUES_BYTES_LOW": 100_000,
    "gateway.relay.replacement.TRIES_MAX": 100,
    "gateway.relay.replacement.PAUSE_S_MAX": 0.3,
}
READ_BYTES = 262_144  # the most that the event loop reads at once
WORDS = 12


@pytest.fixture
def clusters() -> Iterator[tuple[Cluster, Cluster]]:
    """A cluster without a gateway, and a provider of its own for those who are up to no good."""
    with cluster_folder() as ours, cluster_folder() as theirs:
        ours.start_accountd()
        ours.start_simulator()
        theirs.start_simulator("--listen", f"127.0.0.1:{free_ports(1)[0]}")
        assert theirs.simulator is not None
        provider = f"http://{theirs.simulator.field('listen')}/xai/v1"
        ours.env |= {"XAI_API_KEY": "key", "XAI_BASE_URL": provider}
        yield ours, theirs


def test_honest_clients_are_served_among_all_kinds_of_abuse(
    clusters: tuple[Cluster, Cluster],
) -> None:
    """They open sessions, talk, hear answers, and are charged; memory is bounded, and the gateway
    has nothing to complain about.
    """
    cluster, _ = clusters
    gateway = cluster.start_gateway(
        GATEWAY_OPS_LISTEN="127.0.0.1:0", GATEWAY_PAGE="yes", GATEWAY_SESSIONS_PER_KEY_S="0"
    )
    port, ops = (int(gateway.field(name).rpartition(":")[2]) for name in ("listen", "ops"))
    place = Place("127.0.0.1", port, 0, ops, cluster.create_account("abuser"), ABUSERS)
    with ExitStack() as stack:
        honest = Process("honest", f"ws://localhost:{port}/v1/realtime",
                         cluster.create_account("honest"))  # fmt: skip
        stack.callback(honest.kill)
        watch = Watch(gateway.process.pid, {port}, ABUSERS)
        plan = Plan(CROWDS, is_repeated=False, place=asdict(place))
        abusers = Process("abusers", json.dumps(asdict(plan)))
        stack.callback(abusers.kill)
        assert abusers.line() == "begun"
        answered = cluster.usage_sent
        before = len(answered())
        eventually(lambda: len(answered()) >= before + ANSWERED)
        told = honest.end()
        watch.stop()
    assert told["failures"] == []
    assert told["answers"] >= ANSWERED
    assert len(told["round_trips"]) > 10
    assert watch.seen > sum(CROWDS.values()) / 3
    assert watch.peak_mib < MEMORY_MIB
    assert gateway.stop() == 0
    assert [x for x in gateway.complaints() if "provider unavailable" not in x] == []
    rows = cluster.usage_rows("honest")
    assert sum(x["responses"] for x in rows if x["kind"] == "response") == told["answers"]
    assert cluster.audit()["ok"]


def test_words_between_two_providers_are_bounded_and_not_lost(
    clusters: tuple[Cluster, Cluster],
) -> None:
    """While a live session is without its provider its client's words wait, of all such clients no
    more than so many; when the provider is back they come there, each once and in order.
    """
    cluster, theirs = clusters
    assert theirs.simulator is not None
    listen = theirs.simulator.field("listen")
    gateway = cluster.start_gateway(tuned=FEW_BYTES, GATEWAY_OPS_LISTEN="127.0.0.1:0")
    key = cluster.create_account("between")
    url = f"ws://{cluster.address}/v1/realtime?provider=xai&model=grok-voice-1&pace=0&rs_key={key}"
    clients = [connect(url, legacy=True) for _ in range(6)]
    for client in clients:
        client.recv(timeout=20)
    theirs.simulator.stop(signal.SIGKILL)
    talks = [Thread(target=talk, args=(client,)) for client in clients]
    for thread in talks:
        thread.start()
    held, until = 0.0, time.monotonic() + 1.5
    while time.monotonic() < until:
        held = max(held, gateway.metrics()["rts_gateway_queued_bytes"])
        os.sched_yield()
    assert (
        100_000
        < held
        < FEW_BYTES["gateway.connections.held_bytes.RECEIVE_QUEUES_BYTES_MAX"] + (2 * READ_BYTES)
    )
    theirs.start_simulator("--listen", listen)
    for client in clients:
        assert heard(client) == [str(number) for number in range(WORDS)]
        client.close()
    for thread in talks:
        thread.join()
    eventually(lambda: gateway.metrics()["rts_gateway_queued_bytes"] == 0)


def talk(client: ClientConnection) -> None:
    """1.2 MB of words."""
    for number in range(WORDS):
        client.send(json.dumps(write(f"{number} " + "x" * 100_000)))


def heard(client: ClientConnection) -> list[str]:
    """What the provider says that it was told."""
    found: list[str] = []
    while len(found) < WORDS:
        event = json.loads(client.recv(timeout=30))
        if event["type"] == "conversation.item.added":
            found.append(event["item"]["content"][0]["text"].partition(" ")[0])
    return found
