"""Calls of tests: made with the official SDK, seen by the simulator, charged by accountd."""

import json
from pathlib import Path
from typing import Any

from openai import APIStatusError, OpenAI
from websockets.sync.client import connect

from tests.support.harness import Cluster, Daemon, eventually

CALLS = "/v1/realtime/calls"
OFFER = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
# One answer of thirty seconds, after which the caller leaves. Its format differs from the caller's,
# or the simulator would say only what the caller said; an event comes each quarter of a second.
SLOW = "sim-pace-1,reply_ms-30000,caller-1"
LONG_WINDED: dict[str, Any] = {"audio": {"output": {"format": {"type": "audio/pcmu"}}}}


def client_of(cluster: Cluster, key: str, *, gateway: int = 0) -> OpenAI:
    """The official SDK as it comes; it tries nothing twice, so that every answer is seen."""
    address = cluster.gateways[gateway].field("listen")
    return OpenAI(api_key=key, base_url=f"http://{address}/v1", max_retries=0)


def charged(cluster: Cluster, account: str, *, responses: int) -> list[dict[str, Any]]:
    """The rows of an account, once they hold so many responses."""

    def rows() -> list[dict[str, Any]]:
        found = cluster.usage_rows(account)
        return found if sum(row["responses"] for row in found) >= responses else []

    return eventually(rows)


def sent(cluster: Cluster, call_id: str) -> dict[str, int]:
    """What the simulator says that the responses of a call cost, by their ids."""
    return {
        usage["response_id"]: usage["charge"]["total_tokens"]
        for usage in cluster.usage_sent()
        if usage["session"] == call_id
    }


def is_charged(cluster: Cluster, account: str, call_id: str, *, responses: int) -> None:
    """The rows of an account are what was sent in its only call, to the token, and once."""
    rows = charged(cluster, account, responses=responses)
    told = sent(cluster, call_id)
    assert len(told) == responses
    assert sorted(name for row in rows for name in row["response_ids"]) == sorted(told)
    assert sum(row["total_tokens"] for row in rows) == sum(told.values())
    assert {row["kind"] for row in rows} == {"response"}
    assert {row["session_id"] for row in rows} == {call_id}


def reported(cluster: Cluster, account: str, *, responses: int) -> int:
    """The tokens of an account's responses, once there are so many. One that the caller began in
    the moment of the hang-up is never reported; it is an estimate beside them.
    """

    def found() -> list[dict[str, Any]]:
        rows = [row for row in cluster.usage_rows(account) if row["kind"] == "response"]
        return rows if sum(row["responses"] for row in rows) == responses else []

    return sum(row["total_tokens"] for row in eventually(found))


def place(cluster: Cluster, key: str, model: str, **session: Any) -> str:
    """Make a call; its id."""
    answer = client_of(cluster, key).realtime.calls.create(
        sdp=OFFER, session={"type": "realtime", "model": model, **session}
    )
    assert answer.text.startswith("v=0")
    assert answer.response.status_code == 201
    assert answer.response.headers["content-type"] == "application/sdp"
    path, _, call_id = answer.response.headers["location"].rpartition("/")
    assert path == CALLS
    return call_id


def is_call_gone(cluster: Cluster, key: str, call_id: str) -> bool:
    """Whether the provider knows the call no more."""
    try:
        client_of(cluster, key).realtime.calls.refer(call_id, target_uri="tel:+15550100")
    except APIStatusError as exc:
        return exc.status_code == 404
    return False


def has_ended(cluster: Cluster, call_id: str) -> bool:
    """Whether every gateway that heard the call has stopped."""
    logs = "".join(gateway.log.read_text() for gateway in cluster.gateways)
    opened, ended = (logs.count(f'event="call {x}" call={call_id} ') for x in ("opened", "ended"))
    return 0 < opened == ended


def wait_until_said(cluster: Cluster, key: str, call_id: str) -> None:
    """Listen on one sideband until a part of a response comes: more of it will."""
    with sideband(cluster, key, call_id) as socket:
        while not json.loads(socket.recv(timeout=10))["type"].endswith(".delta"):
            pass


def sideband(cluster: Cluster, key: str, call_id: str, *, gateway: int = 0) -> Any:
    """A client's own socket to a call."""
    address = cluster.gateways[gateway].field("listen")
    url = f"ws://{address}/v1/realtime?call_id={call_id}"
    # What is not read does not keep the connection from being closed.
    headers = {"Authorization": f"Bearer {key}"}
    return connect(url, additional_headers=headers, max_queue=None)


def respond(socket: Any) -> None:
    """One response, asked for on a sideband."""
    socket.send('{"type": "response.create"}')
    while json.loads(socket.recv(timeout=2))["type"] != "response.done":
        pass


def connections_to(daemon: Daemon) -> set[str]:
    """The ends of all connections to a daemon's port, of whoever it is (proc_pid_net(5))."""
    port = int(daemon.field("listen").rpartition(":")[2])
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    ends = [line.split()[1:4] for line in lines]
    return {own for own, peer, state in ends if peer.endswith(f":{port:04X}") and state == "01"}


def assert_books_are_right(cluster: Cluster) -> None:
    """Whatever the tests of a module did: the audit passes, and no gateway had a bug."""
    assert cluster.audit()["ok"]
    assert "Traceback" not in "".join(gateway.log.read_text() for gateway in cluster.gateways)
