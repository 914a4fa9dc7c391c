"""Clients of a gateway's TLS port."""

import json
import socket
import ssl
from typing import Any

from websockets.asyncio.client import ClientConnection

from tests.support.certificates import Pem
from tests.support.harness import Cluster

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
