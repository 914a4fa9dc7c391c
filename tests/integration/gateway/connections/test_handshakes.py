"""Handshakes with a provider that fail in any way: the client gets an error without secrets."""

import json
import re
import socketserver
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.support.fake_provider import reset_when_closed
from tests.support.harness import Cluster, cluster_folder, eventually, lines_of


def refused(status: str, *headers: str) -> bytes:
    """A provider's answer in place of the upgrade; its body quotes our key."""
    body = "sk-abcd****wxyz"
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", body]
    return "\r\n".join(lines).encode()


UNAVAILABLE, REFUSED = "provider_unavailable", "provider_refused"
HANDSHAKES: list[tuple[str, bytes, bool, int, str]] = [
    ("closed at once", b"", False, 1013, UNAVAILABLE),
    ("reset at once", b"", True, 1013, UNAVAILABLE),
    ("half an answer", b"HTTP/1.1 101 Switching", False, 1013, UNAVAILABLE),
    ("no HTTP", b"SSH-2.0-OpenSSH\r\n\r\n", False, 1011, UNAVAILABLE),
    ("our key", refused("401 Unauthorized"), False, 1008, REFUSED),
    ("our rights", refused("403 Forbidden"), False, 1008, REFUSED),
    ("no such model", refused("404 Not Found"), False, 1008, "model_not_found"),
    ("bad request", refused("400 Bad Request"), False, 1008, REFUSED),
    ("elsewhere", refused("302 Found", "Location: https://elsewhere.example/?api-key=k"), False,
     1008, REFUSED),
    ("nowhere", refused("302 Found"), False, 1008, REFUSED),
    ("timeout", refused("408 Request Timeout"), False, 1013, UNAVAILABLE),
    ("too many", refused("429 Too Many Requests"), False, 1013, UNAVAILABLE),
    ("too many after a hint",
     b"HTTP/1.1 103 Early Hints\r\n\r\n" + refused("429 Too Many Requests"), False, 1013,
     UNAVAILABLE),
    ("broken", refused("500 Internal Server Error"), False, 1013, UNAVAILABLE),
    ("busy", refused("503 Service Unavailable"), False, 1013, UNAVAILABLE),
    ("wrong accept", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
     b"Connection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n", False, 1011, UNAVAILABLE),
]  # fmt: skip


class Refusing(socketserver.StreamRequestHandler):
    """A provider that answers as its client's query says."""

    def handle(self) -> None:
        """Read a request, answer, and close; after a reset there is no end of the bytes."""
        line = self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        found = re.search(rb"case=(\d+)", line)
        assert found is not None
        _, answer, is_reset, _, _ = HANDSHAKES[int(found[1])]
        self.wfile.write(answer)
        if is_reset:
            reset_when_closed(self.connection)


class Provider(socketserver.ThreadingTCPServer):
    """Closes connections as they are, without saying that nothing more will be sent."""

    def shutdown_request(self, request: Any) -> None:
        """Called when a request was handled."""
        self.close_request(request)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster whose provider refuses everybody."""
    with Provider(("127.0.0.1", 0), Refusing) as provider, cluster_folder() as running:
        serving = threading.Thread(target=provider.serve_forever, kwargs={"poll_interval": 0.05})
        serving.start()
        try:
            host, port = provider.server_address[:2]
            running.start_accountd()
            running.start_gateway(OPENAI_BASE_URL=f"http://{host!s}:{port}/v1")
            yield running
        finally:
            provider.shutdown()
            serving.join()


@pytest.fixture(scope="module")
def key(cluster: Cluster) -> str:
    """A key of its only account."""
    return cluster.create_account("acct")


@pytest.mark.parametrize("case", range(len(HANDSHAKES)), ids=[case[0] for case in HANDSHAKES])
def test_a_provider_that_fails_the_handshake_is_explained(
    cluster: Cluster, key: str, case: int
) -> None:
    """However it fails, the client gets an error event and a close code.

    SDKs that reconnect do so on 1013 and 1011, and never on 1008, which says that it is for good.
    """
    what, _, _, close_code, code = HANDSHAKES[case]
    url = f"{cluster.url}?model=gpt-realtime&case={case}&rs_sessid=case-{case}&rs_key={key}"
    with connect(url) as client:
        event = json.loads(client.recv(timeout=10))
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=10)
    log = cluster.gateways[0].log
    assert event["error"]["code"] == code, what
    assert client.protocol.close_code == close_code
    told = eventually(
        lambda: [x for x in lines_of(log) if f"case-{case}" in x and "provider unavailable" in x]
    )
    assert len(told) == 1
    text = log.read_text() + json.dumps(event)
    assert "sk-" not in text
    assert "elsewhere.example" not in text
    assert "Traceback" not in text
