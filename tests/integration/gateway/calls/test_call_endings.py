"""What ends a call: its credit, a lost sideband, a gateway that stops."""

import dataclasses
import hashlib
import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from openai import APIStatusError, OpenAI, RateLimitError
from websockets.exceptions import ConnectionClosed

from tests.support.calls import (
    OFFER,
    assert_books_are_right,
    client_of,
    connections_to,
    has_ended,
    is_call_gone,
    is_charged,
    place,
    reported,
    respond,
    sent,
    sideband,
    wait_until_said,
)
from tests.support.harness import Cluster, eventually
from tests.support.tuned import SHORT_CALL_UNHEARD, SHORT_CREDIT_WAIT, SHORT_DRAIN


def test_a_call_ends_with_its_credit(cluster: Cluster) -> None:
    """What is being said is finished and charged; nothing new is said for long."""
    key = cluster.create_account("poor", tokens=100)
    # At twice the pace of speech: how many there are must not depend on the speed of the machine.
    call_id = place(cluster, key, "sim-pace-2,caller-100")
    eventually(lambda: has_ended(cluster, call_id))
    told = sent(cluster, call_id)
    assert 2 <= len(told) < 10
    assert reported(cluster, "poor", responses=len(told)) == sum(told.values())
    log = cluster.gateways[0].log.read_text()
    assert "reason=insufficient_quota" in log
    with pytest.raises(APIStatusError) as refused:
        place(cluster, key, "sim-pace-0")
    assert refused.value.status_code == 402


def test_a_call_ends_with_the_cap_of_its_key(cluster: Cluster) -> None:
    """What it costs counts for the key, and the next call is refused until the day is over."""
    key = cluster.create_account("capped")
    key_hash = hashlib.sha256(key.encode()).hexdigest()
    cluster.accountctl("key", "limit", key_hash, "--spending", "100/day")
    call_id = place(cluster, key, "sim-pace-2,caller-100")
    eventually(lambda: has_ended(cluster, call_id))
    assert "reason=spending_limit_reached" in cluster.gateways[0].log.read_text()
    told = sent(cluster, call_id)
    assert reported(cluster, "capped", responses=len(told)) == sum(told.values())
    shown = cluster.accountctl("key", "show", key_hash)
    assert shown["spent_in_period"] == sum(told.values())
    with pytest.raises(RateLimitError) as refused:
        place(cluster, key, "sim-pace-0")
    assert refused.value.code == "spending_limit_reached"
    assert 0 < int(refused.value.response.headers["Retry-After"]) <= 86_400


@pytest.fixture(scope="module")
def impatient(cluster: Cluster) -> Iterator[Cluster]:
    """The same with two gateways of its own, which wait for a short time only: to hear of credit,
    and to hear a call.
    """
    own = dataclasses.replace(cluster, gateways=[])
    try:
        for _ in range(2):
            own.start_gateway(tuned={**SHORT_CREDIT_WAIT, **SHORT_CALL_UNHEARD})
        yield own
        assert_books_are_right(own)
    finally:
        for gateway in own.gateways:
            gateway.stop(signal.SIGKILL)


def test_a_call_whose_credit_cannot_be_confirmed(impatient: Cluster) -> None:
    """Two gateways split the balance, and accountd is silent: once the allotment is spent the call
    may go on for a moment only, and what was said is charged when accountd is back.
    """
    cluster = impatient
    assert cluster.accountd is not None
    key = cluster.create_account("held-up", tokens=3_000)
    call_id = place(cluster, key, "sim-pace-0")
    with sideband(cluster, key, call_id, gateway=1), sideband(cluster, key, call_id) as socket:
        respond(socket)
        eventually(lambda: cluster.usage_rows("held-up"))
        cluster.accountd.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises((TimeoutError, ConnectionClosed)):  # the client is held, too
                while True:
                    respond(socket)
            eventually(lambda: has_ended(cluster, call_id))
        finally:
            cluster.accountd.process.send_signal(signal.SIGCONT)
    logs = "".join(gateway.log.read_text() for gateway in cluster.gateways)
    assert "the credit cannot be confirmed" in logs, "whichever gateway came first"
    is_charged(cluster, "held-up", call_id, responses=len(sent(cluster, call_id)))


def test_a_sideband_that_breaks_is_opened_again(cluster: Cluster) -> None:
    """In the middle of a response, whose usage comes over the next one."""
    key = cluster.create_account("broken")
    call_id = place(cluster, key, "sim-call-dropping,pace-0.5,caller-2")
    is_charged(cluster, "broken", call_id, responses=2)
    assert f'event="call heard again" call={call_id}' in cluster.gateways[0].log.read_text()


def test_a_call_that_cannot_be_heard_is_hung_up(impatient: Cluster) -> None:
    """Its caller never gets the answer: 503, which SDKs try again."""
    key = impatient.create_account("unheard")
    with pytest.raises(APIStatusError) as refused:
        client_of(impatient, key).realtime.calls.accept(
            "rtc_incoming_deaf", type="realtime", model="sim-call-deaf,pace-0"
        )
    assert refused.value.status_code == 503
    assert is_call_gone(impatient, key, "rtc_incoming_deaf")


def test_a_call_without_a_name_is_not_answered(cluster: Cluster) -> None:
    """Nobody could hear it, nor hang it up."""
    key = cluster.create_account("nameless")
    with pytest.raises(APIStatusError) as refused:
        place(cluster, key, "sim-call-nameless")
    assert refused.value.status_code == 503


def test_a_gateway_that_stops_hangs_up(cluster: Cluster) -> None:
    """Once what is being said is finished; everything is charged, and its exit is clean."""
    key = cluster.create_account("stopped")
    third = cluster.start_gateway(tuned=SHORT_DRAIN)
    try:
        client = OpenAI(api_key=key, base_url=f"http://{third.field('listen')}/v1")
        answer = client.realtime.calls.create(
            sdp=OFFER,
            session={"type": "realtime", "model": "sim-pace-0.5,caller-100"},
        )
        call_id = answer.response.headers["location"].rpartition("/")[2]
        assert third.metrics()["rts_gateway_calls"] == 1
        wait_until_said(cluster, key, call_id)
        assert third.stop(signal.SIGTERM) == 0
    finally:
        cluster.gateways.remove(third)
    told = sent(cluster, call_id)
    assert reported(cluster, "stopped", responses=len(told)) == sum(told.values())
    assert is_call_gone(cluster, key, call_id)


def test_a_call_that_is_taken_while_the_gateway_stops(cluster: Cluster) -> None:
    """The provider's answer is waited for, and the call hung up; none is taken after that."""
    key = cluster.create_account("late-taken")
    third = cluster.start_gateway()
    cluster.gateways.remove(third)
    client = OpenAI(
        api_key=key, base_url=f"http://{third.field('listen')}/v1", max_retries=0
    ).realtime.calls
    provider = cluster.simulator
    assert provider is not None
    quiet = connections_to(provider)
    with ThreadPoolExecutor(1) as thread:
        taken = thread.submit(
            client.accept, "rtc_incoming_slow", type="realtime", model="sim-pace-0",
            extra_query={"dial_ms": "1500"},
        )  # fmt: skip
        # The provider is asked, and answers a second later.
        eventually(lambda: connections_to(provider) - quiet)
        third.process.send_signal(signal.SIGTERM)
        eventually(lambda: "stopping" in third.log.read_text())
        with pytest.raises(APIStatusError) as refused:
            client.accept("rtc_incoming_late", type="realtime", model="sim-pace-0")
        assert refused.value.status_code == 503
        taken.result(timeout=20)
    assert third.stop() == 0
    assert is_call_gone(cluster, key, "rtc_incoming_slow")
    assert "call abandoned" not in third.log.read_text()


def test_the_books_are_right(cluster: Cluster) -> None:
    """After all of that."""
    assert_books_are_right(cluster)


def test_a_call_ends_with_its_key(cluster: Cluster) -> None:
    """It is hung up while it speaks, and charged. A sideband with another key loses only that key's
    session, whichever gateway it is at.
    """
    key = cluster.create_account("recalled")
    made = cluster.accountctl("key", "create", "recalled", "--label", "sidebands")
    call_id = place(cluster, key, "sim-pace-0.5,caller-100")
    for gateway in (0, 1):
        with sideband(cluster, made["key"], call_id, gateway=gateway) as socket:
            while not json.loads(socket.recv(timeout=10))["type"].endswith(".delta"):
                pass
            if gateway == 1:
                cluster.accountctl("key", "revoke", made["key_hash"])
                with pytest.raises(ConnectionClosed) as closed:
                    while True:
                        socket.recv(timeout=10)
                assert closed.value.rcvd is not None
                assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (
                    1008, "invalid_api_key",
                )  # fmt: skip
    wait_until_said(cluster, key, call_id)
    keys = cluster.accountctl("key", "list", "recalled")["keys"]
    own = next(row["key_hash"] for row in keys if row["label"] == "test")
    assert cluster.accountctl("key", "revoke", own)["sessions_ended"] == 1
    eventually(lambda: has_ended(cluster, call_id))
    told = sent(cluster, call_id)
    assert reported(cluster, "recalled", responses=len(told)) == sum(told.values())
    assert is_call_gone(cluster, cluster.create_account("onlooker"), call_id)


def test_a_call_ends_by_its_name(cluster: Cluster) -> None:
    """An operator ends it as any session."""
    key = cluster.create_account("named-call")
    call_id = place(cluster, key, "sim-pace-0.5,caller-100")
    wait_until_said(cluster, key, call_id)
    assert cluster.accountctl("sessions", "end", call_id)["sessions_ended"] >= 1
    eventually(lambda: has_ended(cluster, call_id))
    told = sent(cluster, call_id)
    assert reported(cluster, "named-call", responses=len(told)) == sum(told.values())
