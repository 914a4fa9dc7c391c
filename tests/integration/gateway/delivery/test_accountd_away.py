"""accountd is away: live sessions continue, new ones need a cached authorization or are refused."""

import http.client
import json
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from shared.wire import LEVEL
from tests.support.fake_accountd import fake_accountd
from tests.support.harness import Cluster, Daemon, cluster_folder, eventually
from tests.support.tuned import PATIENT_RPC, SOON_AWAY


@pytest.fixture
def fresh() -> Iterator[Cluster]:
    """A cluster of its own, because the test ends its accountd."""
    with cluster_folder() as running:
        running.start_accountd()
        running.start_simulator()
        yield running


def probe(gateway: Daemon, path: str) -> int:
    """The status of a health check."""
    host, port = gateway.field("listen").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    connection.request("GET", path)
    status = connection.getresponse().status
    connection.close()
    return status


def session(gateway: Daemon, key: str) -> ClientConnection:
    """A new session."""
    url = f"ws://{gateway.field('listen')}/v1/realtime?model=gpt-realtime&pace=0&rs_key={key}"
    return connect(url, max_size=None)


def turn(client: ClientConnection) -> dict[str, Any]:
    """Ask for a response and wait for its end."""
    client.send(json.dumps({"type": "response.create"}))
    while (event := json.loads(client.recv(timeout=10)))["type"] != "response.done":
        assert event["type"] != "error", event
    response: dict[str, Any] = event["response"]
    return response


def test_without_a_grant_in_memory_it_is_503_with_retry_after(fresh: Cluster) -> None:
    """The gateway says when to come back, is not ready, and recovers by itself."""
    gateway = fresh.start_gateway(tuned=SOON_AWAY, GATEWAY_GRANT_CACHE_S="0")
    key = fresh.create_account("acct")
    with session(gateway, key) as client:
        turn(client)
    assert probe(gateway, "/readyz") == 200
    assert fresh.accountd is not None
    assert fresh.accountd.stop() == 0
    with pytest.raises(InvalidStatus) as refused:
        session(gateway, key)
    response = refused.value.response
    assert response.status_code == 503
    assert json.loads(response.body or b"")["error"]["code"] == "service_unavailable"
    assert int(response.headers["Retry-After"]) > 0
    eventually(lambda: probe(gateway, "/readyz") == 503)
    eventually(gateway.complaints)
    assert probe(gateway, "/healthz") == 200
    fresh.start_accountd()
    eventually(lambda: probe(gateway, "/readyz") == 200)
    with session(gateway, key) as client:
        turn(client)
    (line,) = gateway.complaints()
    assert "accountd unreachable" in line


def test_an_accountd_that_is_slow_is_no_complaint() -> None:
    """It may be busy with a commit. It is away when it has answered nothing for as long as a
    question waits: here for minutes.
    """
    with cluster_folder() as cluster, fake_accountd(cluster.env) as accountd:
        gateway = cluster.start_gateway(tuned=PATIENT_RPC, OPENAI_BASE_URL="http://127.0.0.1:9/v1")
        accountd.holds = "ping"
        eventually(lambda: len(accountd.held) == 2)  # the first one was waited for in vain
        assert gateway.complaints() == []
        gateway.stop(signal.SIGKILL)  # nobody acknowledges its end: it would take seconds


OUTDATED = "rts_gateway_accountd_outdated"


def test_an_accountd_of_an_earlier_release_is_told_once_for_each_boot() -> None:
    """It would drop the fields of usage that it does not know, and never charge for them."""
    with cluster_folder() as cluster, fake_accountd(cluster.env) as accountd:
        accountd.level, accountd.is_mute = None, False
        gateway = cluster.start_gateway(
            GATEWAY_OPS_LISTEN="127.0.0.1:0",
            XAI_API_KEY="key",
            XAI_BASE_URL="http://127.0.0.1:9/v1",
        )
        query = f"model=grok&conversation_id=c&rs_key=rslive_v1_{'0' * 48}"
        url = f"ws://{gateway.field('listen')}/xai/v1/realtime?{query}"
        eventually(lambda: gateway.metrics()[OUTDATED] == 1)
        for _ in range(2):
            with pytest.raises(InvalidStatus) as refused:
                connect(url)
            error = json.loads(refused.value.response.body or b"")["error"]
            assert refused.value.response.status_code == 503
            assert "before accountd is upgraded" in error["message"]
        outdated, unchecked = gateway.complaints()
        assert "accountd outdated" in outdated
        assert "found=0" in outdated
        assert "accountd first, then gateways" in outdated
        assert "handles cannot be checked" in unchecked
        accountd.level = LEVEL
        eventually(lambda: gateway.metrics()[OUTDATED] == 0)
        accountd.level, accountd.epoch = LEVEL - 1, accountd.epoch + 1
        eventually(lambda: gateway.metrics()[OUTDATED] == 1)
        assert sum("accountd outdated" in line for line in gateway.complaints()) == 2
        gateway.stop(signal.SIGKILL)  # nobody acknowledges its end: it would take seconds


def test_who_was_let_in_lately_is_let_in_again(fresh: Cluster) -> None:
    """An authorization less than a minute old counts while accountd is away; an unknown key does
    not.
    """
    gateway = fresh.start_gateway(tuned=SOON_AWAY)
    known, unknown = fresh.create_account("known"), fresh.create_account("unknown")
    with session(gateway, known) as live:
        turn(live)
        assert fresh.accountd is not None
        assert fresh.accountd.stop() == 0
        turn(live)
        with session(gateway, known) as client:
            turn(client)
        with pytest.raises(InvalidStatus) as refused:
            session(gateway, unknown)
        assert refused.value.response.status_code == 503
        assert probe(gateway, "/readyz") == 200
        turn(live)
    fresh.start_accountd()
    sent = [entry["usage"]["total_tokens"] for entry in fresh.usage_sent()]
    assert len(sent) == 4
    eventually(lambda: sum(r["total_tokens"] for r in fresh.usage_rows("known")) == sum(sent))
    assert fresh.audit()["ok"]


def test_a_revoked_key_is_forgotten(fresh: Cluster) -> None:
    """Once accountd has denied a key, an earlier authorization in the cache does not count."""
    gateway = fresh.start_gateway(tuned=SOON_AWAY)
    key = fresh.create_account("acct")
    with session(gateway, key) as client:
        turn(client)
    (listed,) = fresh.accountctl("key", "list", "acct")["keys"]
    fresh.accountctl("key", "revoke", listed["key_hash"])
    with pytest.raises(InvalidStatus) as refused:
        session(gateway, key)
    assert refused.value.response.status_code == 401
    assert fresh.accountd is not None
    fresh.accountd.stop()
    with pytest.raises(InvalidStatus) as refused:
        session(gateway, key)
    assert refused.value.response.status_code == 503


def test_a_key_that_expires_meanwhile(fresh: Cluster) -> None:
    """Its session ends at that time, and its grant in memory lets nobody in any more; the session
    of a key that keeps them goes on, and its grant ends as well.
    """
    gateway = fresh.start_gateway(tuned=SOON_AWAY)
    fresh.create_account("acct")
    at = datetime.now(UTC) + timedelta(seconds=8)
    asked = {"account_id": "acct", "label": "x", "expires_at": at.isoformat()}
    keys = [
        fresh.ask("key.create", **asked, keeps_sessions=keeps)["key"] for keeps in (False, True)
    ]
    with session(gateway, keys[0]) as ending, session(gateway, keys[1]) as kept:
        turn(ending)
        assert fresh.accountd is not None
        assert fresh.accountd.stop() == 0
        with session(gateway, keys[0]), session(gateway, keys[1]):
            pass
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                ending.recv(timeout=20)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "expired_api_key")
        assert datetime.now(UTC) > at - timedelta(seconds=0.1)
        turn(kept)
        for key in keys:
            with pytest.raises(InvalidStatus) as refused:
                session(gateway, key)
            body = json.loads(refused.value.response.body or b"")
            assert (refused.value.response.status_code, body["error"]["code"]) == (
                401, "expired_api_key",
            )  # fmt: skip
