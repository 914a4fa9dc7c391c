"""Clients of a gateway's TLS port."""

import contextlib
import json
import socket
import ssl
from collections.abc import Callable
from typing import Any, TypeVar

from websockets.asyncio.client import ClientConnection

from tests.support.certificates import Pem
from tests.support.harness import Cluster

T = TypeVar("T")
QUERY = "?model=gpt-realtime&pace=0&rs_key="


def wss(cluster: Cluster) -> str:
    """The gateway's secure address under the name that the certificate has."""
    return f"wss://localhost:{tls_port(cluster)}/v1/realtime"


def tls_port(cluster: Cluster) -> int:
    """Where the first gateway serves TLS."""
    return int(cluster.gateways[0].field("tls").rpartition(":")[2])


def handshaken(cluster: Cluster, pem: Pem, **options: Any) -> ssl.SSLSocket:
    """A blocking client after the TLS handshake."""
    raw = socket.create_connection(("127.0.0.1", tls_port(cluster)), timeout=20)
    return pem.trusting().wrap_socket(raw, server_hostname="localhost", **options)


class LeavingClient:
    """A blocking client that can say close_notify while data are under way.

    An ``SSLSocket`` cannot: its ``unwrap`` reads for the peer's close_notify at once, and what
    OpenSSL finds instead of it ends the connection.
    """

    def __init__(self, cluster: Cluster, pem: Pem) -> None:
        self._raw = socket.create_connection(("127.0.0.1", tls_port(cluster)), timeout=20)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = pem.trusting().wrap_bio(self._incoming, self._outgoing, False, "localhost")
        self._do(self._tls.do_handshake)

    def sendall(self, data: bytes) -> None:
        """Encrypt and send."""
        self._do(lambda: self._tls.write(data))

    def recv(self, size: int) -> bytes:
        """What comes next; nothing after the gateway's close_notify."""
        try:
            return self._do(lambda: self._tls.read(size))
        except ssl.SSLZeroReturnError:
            return b""

    def leave(self) -> None:
        """Say close_notify, read on until the gateway has said it too, and close."""
        with contextlib.suppress(ssl.SSLWantReadError):
            while True:
                self._tls.read(65_536)
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        while self.recv(65_536):
            pass
        self._raw.close()

    def _do(self, step: Callable[[], T]) -> T:
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self._raw.sendall(self._outgoing.read())
                received = self._raw.recv(65_536)
                assert received, "the end must be said in TLS"
                self._incoming.write(received)
            else:
                self._raw.sendall(self._outgoing.read())
                return result


def read_all(client: socket.socket) -> bytes:
    """Everything until the end, which must be a clean one."""
    answer = b""
    while data := client.recv(65_536):
        answer += data
    return answer


async def respond(client: ClientConnection) -> dict[str, Any]:
    """One response, heard to its end."""
    await client.send(json.dumps({"type": "response.create"}))
    while (event := json.loads(await client.recv()))["type"] != "response.done":
        assert event["type"] != "error", event
    return dict(event["response"])
