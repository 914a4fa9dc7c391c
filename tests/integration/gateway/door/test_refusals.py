"""Bad input at the gateway's door and on its connections gets what the design says.

Who is refused with which status, and that it costs nothing: ``test_refusal_table``.
"""

import http.client
import json
import socket
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.support.harness import Cluster
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
    """A good key, and one that there never was."""
    return {"good": cluster.create_account("good"), "unknown": "rslive_v1_" + "0" * 48}


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
