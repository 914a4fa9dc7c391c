"""Gateways with TLS that stop, get another certificate, share ports, or are set up wrongly."""

import asyncio
import json
import signal
import socket
import ssl
from collections.abc import Iterator

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.certificates import Pem
from tests.support.conversation import charged_ids
from tests.support.harness import Cluster, Daemon, cluster_folder, eventually, running_cluster
from tests.support.ports import listeners
from tests.support.tls_clients import QUERY, handshaken, read_all, respond, tls_port, wss


@pytest.fixture
def own() -> Iterator[tuple[Cluster, Pem]]:
    """A cluster for a test that stops its gateway or changes its certificate."""
    with running_cluster(0) as running:
        pem = Pem.make(running.folder)
        running.start_gateway(**pem.settings)
        yield running, pem


async def test_drain_over_tls(own: tuple[Cluster, Pem]) -> None:
    """The response in flight arrives, newcomers are refused, then 1001; the exit code is 0."""
    cluster, pem = own
    gateway = cluster.gateways[0]
    account = cluster.create_account("drain")
    url = f"{wss(cluster)}?model=gpt-realtime&reply_ms=2500&rs_key={account}"
    half = socket.create_connection(("127.0.0.1", tls_port(cluster)))
    half.sendall(b"\x16\x03\x01")
    async with connect(url, ssl=pem.trusting(), max_size=None) as client:
        await client.send(json.dumps({"type": "response.create"}))
        while json.loads(await client.recv())["type"] != "response.output_audio.delta":
            pass
        gateway.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(eventually, lambda: "stopping" in gateway.log.read_text())
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, ssl=pem.trusting())
        assert refused.value.response.status_code == 503
        events = []
        with pytest.raises(ConnectionClosed):
            while True:
                events.append(json.loads(await client.recv())["type"])
    assert client.close_code == 1001
    assert "response.done" in events
    assert await asyncio.to_thread(gateway.stop) == 0
    half.close()
    assert gateway.complaints() == []
    assert len(charged_ids(cluster, "drain")) == 1


# --- the certificate ------------------------------------------------------------------------------


async def test_a_new_certificate_without_dropping_a_session(own: tuple[Cluster, Pem]) -> None:
    """After SIGHUP newcomers see the new one; a bad one is ignored; the session lives on."""
    cluster, old = own
    gateway = cluster.gateways[0]
    account = cluster.create_account("renewed")
    url = f"{wss(cluster)}{QUERY}{account}"
    trusting_old = old.trusting()

    async def reload(event: str) -> None:
        seen = gateway.log.read_text().count(event)
        gateway.process.send_signal(signal.SIGHUP)
        await asyncio.to_thread(eventually, lambda: gateway.log.read_text().count(event) > seen)

    async with connect(url, ssl=trusting_old, max_size=None) as client:
        await respond(client)
        new = Pem.make(cluster.folder)
        await reload("certificate reloaded")
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect(url, ssl=trusting_old)
        async with connect(url, ssl=new.trusting(), max_size=None) as other:
            await respond(other)
        trusting_new = new.trusting()
        new.key.write_text("soup")
        await reload("certificate not reloaded")
        async with connect(url, ssl=trusting_new, max_size=None) as other:
            await respond(other)
        await respond(client)
    (line,) = gateway.complaints()
    assert "certificate not reloaded" in line
    assert await asyncio.to_thread(gateway.stop) == 0


async def test_gateways_share_both_ports(own: tuple[Cluster, Pem]) -> None:
    """With GATEWAY_REUSE_PORT a draining gateway leaves both to its neighbour."""
    cluster, pem = own
    account = cluster.create_account("shared")
    first = cluster.start_gateway(**pem.settings, GATEWAY_REUSE_PORT="yes")
    shared = {**pem.settings, "GATEWAY_TLS_LISTEN": first.field("tls"), "GATEWAY_REUSE_PORT": "yes"}
    second = cluster.start_gateway(**shared, GATEWAY_LISTEN=first.field("listen"))
    port = int(first.field("tls").rpartition(":")[2])
    assert listeners(port) == 2
    first.process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(eventually, lambda: listeners(port) == 1)
    for _ in range(10):
        url = f"wss://localhost:{port}/v1/realtime{QUERY}{account}"
        async with connect(url, ssl=pem.trusting()) as client:
            await client.recv()
    assert await asyncio.to_thread(first.stop) == 0
    assert await asyncio.to_thread(second.stop) == 0


# --- settings -------------------------------------------------------------------------------------


def test_the_plain_port_can_be_off() -> None:
    """Only wss is served then, and the ready line says so."""
    with cluster_folder() as cluster:
        pem = Pem.make(cluster.folder)
        env = {**cluster.env, **pem.settings, "GATEWAY_LISTEN": "off"}
        gateway = Daemon.start("rts-gateway", "serve", env=env, folder=cluster.folder)
        cluster.gateways.append(gateway)
        assert gateway.field("listen") == "off"
        with handshaken(cluster, pem) as client:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_all(client).startswith(b"HTTP/1.1 200")
        assert gateway.stop() == 0


BAD = [
    ({"GATEWAY_TLS_CERT": "x"}, "GATEWAY_TLS_CERT is set without GATEWAY_TLS_KEY"),
    ({"GATEWAY_TLS_KEY": "x"}, "GATEWAY_TLS_KEY is set without GATEWAY_TLS_CERT"),
    ({"GATEWAY_TLS_LISTEN": ":1"}, "GATEWAY_TLS_LISTEN is set without GATEWAY_TLS_CERT and"),
    ({"GATEWAY_LISTEN": "off"}, "GATEWAY_LISTEN is off and there is no GATEWAY_TLS_CERT"),
    (
        {"GATEWAY_TLS_CERT": "x", "GATEWAY_TLS_KEY": "y", "GATEWAY_TLS_LISTEN": "127.0.0.1:8080"},
        "GATEWAY_TLS_LISTEN: found 127.0.0.1:8080, which is GATEWAY_LISTEN, too",
    ),
    ({"GATEWAY_TLS_CERT": "/x", "GATEWAY_TLS_KEY": "y"}, "GATEWAY_TLS_CERT: cannot read /x: No"),
]


@pytest.mark.parametrize(("settings", "message"), BAD)
def test_bad_tls_settings_are_one_line_and_exit_78(settings: dict[str, str], message: str) -> None:
    """Half a pair, a port without a certificate, nothing to serve."""
    with cluster_folder() as cluster:
        done = cluster.run("rts-gateway", "serve", **settings)
    assert done.returncode == 78
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
