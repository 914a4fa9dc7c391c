"""Ephemeral keys of tests: gateways that make them, and browsers that use them."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from deploy import certificate
from tests.support.harness import Cluster, cluster_folder
from tests.support.http_client import Answer, ask
from tests.support.private_files import write_private

PATH = "/v1/realtime/client_secrets"
SECRET, LATER = "s" * 64, "t" * 64
MODEL = "gpt-realtime"
TRANSLATOR = "gpt-realtime-translate"
ORIGIN = "https://app.example.org"


@contextlib.contextmanager
def ephemeral_cluster() -> Iterator[Cluster]:
    """Two replicas with one secret, the first with TLS and the demo; one account each way."""
    with cluster_folder() as running:
        write_private(running.folder / "ephemeral.secret", SECRET)
        cert, key = running.folder / "cert.pem", running.folder / "key.pem"
        certificate.make(cert, key)
        running.env["GATEWAY_EPHEMERAL_SECRET_FILE"] = str(running.folder / "ephemeral.secret")
        running.env["GATEWAY_DEMO_KEY_FILE"] = str(running.folder / "demo.key")
        running.start_accountd()
        running.start_simulator("--pace", "0")
        running.start_gateway(
            GATEWAY_TLS_CERT=str(cert), GATEWAY_TLS_KEY=str(key), GATEWAY_TLS_LISTEN="127.0.0.1:0"
        )
        simulated = f"http://{running.simulator.field('listen')}" if running.simulator else ""
        running.start_gateway(
            AZURE_OPENAI_API_KEY="azure-key", AZURE_OPENAI_ENDPOINT=simulated,
            GEMINI_API_KEY="gemini-key", GEMINI_BASE_URL=simulated,
        )  # fmt: skip
        yield running


def make(cluster: Cluster, key: str, **body: Any) -> Answer:
    """Ask for an ephemeral key."""
    return ask(cluster.address, "POST", PATH, key=key, body=json.dumps(body))


def browse(address: str, key: str, *, model: str = MODEL, origin: str | None = None) -> str:
    """Open a session as a browser does; the type of the first event."""
    offered = [Subprotocol("realtime"), Subprotocol(f"openai-insecure-api-key.{key}")]
    shown = None if origin is None else Origin(origin)
    url = f"ws://{address}/v1/realtime?model={model}"
    with connect(url, subprotocols=offered, origin=shown) as socket:
        assert socket.subprotocol == "realtime"
        kind = json.loads(socket.recv(timeout=10))["type"]
        assert isinstance(kind, str)
        return kind


def refused(address: str, key: str, **options: Any) -> tuple[int, str]:
    """Status and code of the refusal."""
    with pytest.raises(InvalidStatus) as caught:
        browse(address, key, **options)
    response = caught.value.response
    return response.status_code, json.loads(response.body or b"")["error"]["code"]
