"""Bad input at the gateway's door and on its connections gets what the design says."""

import http.client
import json
import socket
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.support.harness import Cluster, running_cluster
from tests.support.peers import masked

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
PATH = "/v1/realtime?model=gpt-realtime"


@pytest.fixture(scope="module")
def keys(cluster: Cluster) -> dict[str, str]:
    """A key in every state that a key can be in."""
    good = cluster.create_account("good")
    disabled = cluster.create_account("disabled")
    cluster.accountctl("account", "disable", "disabled")
    empty = cluster.create_account("empty", tokens=0)
    expired = cluster.expired_key("good")
    revoked = cluster.accountctl("key", "create", "good", "--label", "r")
    cluster.accountctl("key", "revoke", revoked["key_indicator"], "--account", "good")
    return {
        "good": good, "disabled": disabled, "empty": empty, "expired": expired,
        "revoked": revoked["key"], "unknown": "rslive_v1_" + "0" * 48, "malformed": "sk-abc",
    }  # fmt: skip


def ask(cluster: Cluster, path: str, headers: dict[str, str]) -> tuple[int, dict[str, Any], Any]:
    """(status, JSON body, headers) of a request."""
    host, port = cluster.address.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    status, raw, answered = response.status, response.read(), response.headers
    connection.close()
    return status, json.loads(raw) if raw else {}, answered


def sessions_opened(cluster: Cluster) -> int:
    """How many sessions the gateway has opened; only those lead to the provider."""
    return cluster.gateways[0].log.read_text().count("session opened")


KEYS = [
    ("missing", 401, "invalid_api_key"),
    ("malformed", 401, "invalid_api_key"),
    ("unknown", 401, "invalid_api_key"),
    ("revoked", 401, "invalid_api_key"),
    ("expired", 401, "expired_api_key"),
    ("disabled", 403, "account_disabled"),
    ("empty", 402, "insufficient_credits"),
]


@pytest.mark.parametrize("is_upgrade", [True, False], ids=["handshake", "plain"])
@pytest.mark.parametrize(("state", "status", "code"), KEYS)
def test_keys_that_do_not_open_the_door(
    cluster: Cluster, keys: dict[str, str], state: str, status: int, code: str, is_upgrade: bool
) -> None:
    """Each state of a key has its status and code, and never leads to a provider connection.

    A plain request of the same URL hears the same: browsers hide the answer to a handshake.
    """
    headers = dict(UPGRADE if is_upgrade else {})
    if state in keys:
        headers["Authorization"] = f"Bearer {keys[state]}"
    sessions_before = sessions_opened(cluster)
    found, body, _ = ask(cluster, PATH, dict(headers))
    assert sessions_opened(cluster) == sessions_before
    assert (found, body["error"]["code"]) == (status, code)
    assert body["error"]["message"]
    assert body["error"]["type"]


@pytest.mark.parametrize("is_upgrade", [True, False], ids=["handshake", "plain"])
def test_a_refusal_does_not_tell_which_keys_there_were(
    cluster: Cluster, keys: dict[str, str], is_upgrade: bool
) -> None:
    """Unknown, revoked and malformed keys, of an account and ephemeral ones: the same bytes."""
    found = []
    for key in (keys["unknown"], keys["revoked"], keys["malformed"], "ek_", "ek_" + "A" * 300):
        headers = {"Authorization": f"Bearer {key}", **(UPGRADE if is_upgrade else {})}
        status, body, answered = ask(cluster, PATH, headers)
        found.append((status, body, sorted(set(answered.items()) - {("Date", answered["Date"])})))
    assert found[0][:2] == (401, found[0][1])
    assert all(each == found[0] for each in found)


def test_a_malformed_key_is_asked_for_like_any_other() -> None:
    """So that its refusal takes as long: while accountd is away it is as undecided as theirs."""
    with running_cluster() as cluster:
        assert cluster.accountd is not None
        cluster.accountd.stop()
        for key in ("sk-abc", "rslive_v1_" + "0" * 48):
            found, body, answered = ask(
                cluster, PATH, {"Authorization": f"Bearer {key}", **UPGRADE}
            )
            assert (found, body["error"]["code"]) == (503, "service_unavailable")
            assert answered["Retry-After"] == "1"


KEYS_IN_URLS = [
    # the query; whether the header has the key, too; the status, and the code
    ("&key={}", False, 400, "key_in_url"),
    ("&rs_key={}", True, 400, "key_in_url"),
    ("&access_token={}", False, 400, "key_in_url"),
    ("&api-key={}", False, 400, "key_in_url"),
    ("&key=", False, 401, "invalid_api_key"),
    ("", True, 426, "upgrade_required"),
]


def test_keys_in_urls_may_be_refused(cluster: Cluster, keys: dict[str, str]) -> None:
    """With the option, valid or not, for handshakes and plain requests; keys in headers are served
    as before. No session is opened for one.
    """
    gateway = cluster.start_gateway(GATEWAY_KEYS_IN_URLS="refuse")
    asked = Cluster(cluster.folder, cluster.env, gateways=[gateway])
    for query, has_header, status, code in KEYS_IN_URLS:
        for key in (keys["good"], keys["unknown"]):
            headers = {"Authorization": f"Bearer {keys['good']}"} if has_header else {}
            found, body, _ = ask(asked, PATH + query.format(key), headers)
            assert (query, found, body["error"]["code"]) == (query, status, code)
            if status == 400:
                found, body, _ = ask(asked, PATH + query.format(key), headers | UPGRADE)
                assert (query, found, body["error"]["code"]) == (query, status, code)
    assert sessions_opened(asked) == 0


REQUESTS = [
    ("/v1/nothing", True, 404, "not_found"),
    ("/v1/realtime", True, 400, "missing_model"),
    (PATH, False, 426, "upgrade_required"),
    (PATH + "&provider=acme", True, 404, "provider_not_found"),
    (PATH + "&rs_sessid=a%20b", True, 400, "bad_request"),
]


@pytest.mark.parametrize(("path", "is_upgrade", "status", "code"), REQUESTS)
def test_requests_that_make_no_sense(
    cluster: Cluster, keys: dict[str, str], path: str, is_upgrade: bool, status: int, code: str
) -> None:
    """Unknown paths and parameters are refused before the upgrade."""
    headers = {"Authorization": f"Bearer {keys['good']}", **(UPGRADE if is_upgrade else {})}
    found, body, _ = ask(cluster, path, headers)
    assert (found, body["error"]["code"]) == (status, code)


RAW_REQUESTS = [
    (b"GET / HTTP/1.1\r\nX-Filler: " + b"a" * 20_000 + b"\r\n\r\n", b"HTTP/1.1 400 "),
    (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 "),
    (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"HTTP/1.1 400 "),
    (b"POST /v1/realtime HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", b"HTTP/1.1 400 "),
]


@pytest.mark.parametrize(("raw", "status_line"), RAW_REQUESTS)
def test_bytes_that_are_no_handshake(cluster: Cluster, raw: bytes, status_line: bytes) -> None:
    """Oversized and garbled requests get an answer and the connection closes."""
    host, port = cluster.address.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(raw)
        answer = b""
        while data := client.recv(65_536):
            answer += data
    assert answer.startswith(status_line)
    assert b'{"error": {' in answer


FRAMES = [
    (b"\x81\x02hi", 1002, "unmasked frame"),
    (masked(0x83), 1002, "bad opcode"),
    (masked(0xC1), 1002, "reserved bit"),
    (masked(0x80), 1002, "continuation of nothing"),
    (b"\x81\xff" + (22 * 1024 * 1024).to_bytes(8, "big"), 1009, "message over the limit"),
]


@pytest.mark.parametrize(("frame", "code", "what"), FRAMES)
def test_frames_that_break_the_protocol(
    cluster: Cluster, keys: dict[str, str], frame: bytes, code: int, what: str
) -> None:
    """A client that breaks RFC 6455 is closed with the right code."""
    with connect(f"ws://{cluster.address}{PATH}&rs_key={keys['good']}") as client:
        client.recv(timeout=10)
        client.socket.sendall(frame)
        with pytest.raises(ConnectionClosed):
            while True:
                client.recv(timeout=10)
    assert client.protocol.close_code == code, what


def test_no_key_stands_in_any_log(cluster: Cluster, keys: dict[str, str]) -> None:
    """Neither the clients' keys nor the provider's are ever written down."""
    for daemon in (*cluster.gateways, cluster.accountd):
        assert daemon is not None
        text = daemon.log.read_text()
        assert not any(key in text for key in keys.values())
        assert cluster.env["OPENAI_API_KEY"] not in text
