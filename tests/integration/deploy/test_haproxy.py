"""haproxy before a gateway, by the file that compose gives it: a new certificate cuts no call."""

import contextlib
import json
import signal
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import ClientConnection, connect

from deploy import certificate
from tests.support.harness import Cluster, cluster_folder, eventually
from tests.support.paths import HAPROXY_CONFIG as CONFIG
from tests.support.ports import free_ports


class Haproxy:
    """A running haproxy with one gateway behind it."""

    def __init__(self, cluster: Cluster) -> None:
        self.plain, self.tls = free_ports(2)
        self.cert = cluster.folder / "cert.pem"
        self._trusting = ssl.create_default_context()
        self.renew()
        config = cluster.folder / "haproxy.cfg"
        config.write_text(self._adapted(CONFIG.read_text(), cluster))
        self.log = cluster.folder / "haproxy.log"
        with self.log.open("wb") as log:
            # As the image starts it.
            self.master = subprocess.Popen(
                ["haproxy", "-W", "-db", "-f", config], stdout=log, stderr=subprocess.STDOUT
            )

    def _adapted(self, text: str, cluster: Cluster) -> str:
        """The file for this machine: other addresses, and no Docker whose DNS knows gateways."""
        for there, here in (
            ("bind :8080", f"bind 127.0.0.1:{self.plain}"),
            ("bind :8443 ssl crt /tls/cert.pem", f"bind 127.0.0.1:{self.tls} ssl crt {self.cert}"),
            (" init-addr none resolvers docker", ""),
            ("server-template gateway 32 gateway:8080", f"server gateway {cluster.address}"),
        ):
            assert text.count(there) == 1, there
            text = text.replace(there, here)
        return text

    def renew(self) -> None:
        """Another certificate, which clients trust from now on, too."""
        certificate.make(self.cert, self.cert.with_suffix(".pem.key"))
        self._trusting.load_verify_locations(self.cert)

    def reload(self) -> None:
        """What the operator's command sends."""
        self.master.send_signal(signal.SIGUSR2)

    def take_certificate(self) -> None:
        """Renew, reload, and wait until whoever listened before listens no more."""
        before = self.workers()
        self.renew()
        self.reload()
        eventually(lambda: self.workers() - before)
        stopped = [f"({pid}) : Proxy public stopped" for pid in before]
        eventually(lambda: all(line in self.log.read_text() for line in stopped))

    def workers(self) -> set[int]:
        """The processes that serve."""
        pid = self.master.pid
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))

    def call(self, key: str) -> ClientConnection:
        """A session through haproxy."""
        url = f"wss://localhost:{self.tls}/v1/realtime?model=gpt-realtime&pace=0&rs_key={key}"
        return connect(url, ssl=self._trusting)

    def is_serving(self) -> bool:
        """Whether a gateway answers through it."""
        with contextlib.suppress(OSError):
            url = f"http://127.0.0.1:{self.plain}/readyz"
            with urllib.request.urlopen(url, timeout=5) as answer:
                return bool(answer.status == 200)
        return False


def presented(socket: ClientConnection) -> bytes:
    """The certificate at the other end."""
    assert isinstance(socket.socket, ssl.SSLSocket)
    found = socket.socket.getpeercert(binary_form=True)
    assert found is not None
    return found


def respond(socket: ClientConnection) -> str:
    """Ask for a response and hear it to its end; its id."""
    socket.send(json.dumps({"type": "response.create"}))
    while (event := json.loads(socket.recv(timeout=20)))["type"] != "response.done":
        pass
    return str(event["response"]["id"])


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """accountd, a simulator and a gateway."""
    with cluster_folder() as running:
        running.start_accountd()
        running.start_simulator()
        running.start_gateway()
        yield running


@pytest.fixture
def haproxy(cluster: Cluster) -> Iterator[Haproxy]:
    """haproxy, once it has found the gateway."""
    running = Haproxy(cluster)
    try:
        eventually(running.is_serving)
        yield running
    finally:
        running.master.terminate()
        running.master.wait(20)


def test_a_new_certificate_is_taken_without_cutting_a_call(
    cluster: Cluster, haproxy: Haproxy
) -> None:
    """A reload: whoever comes gets the new one, whoever talks goes on, and is charged. One that
    haproxy cannot use changes nothing, and the next one is taken.
    """
    key = cluster.create_account("caller")
    with haproxy.call(key) as before:
        responses = [respond(before)]
        (first,) = haproxy.workers()
        haproxy.take_certificate()
        with haproxy.call(key) as after:
            assert presented(after) != presented(before)
            responses += [respond(before), respond(after)]
            haproxy.cert.write_text("no certificate")
            haproxy.reload()
            eventually(lambda: "unable to load certificate" in haproxy.log.read_text())
            with haproxy.call(key) as last:
                assert presented(last) == presented(after)
                responses += [respond(call) for call in (before, after, last)]
                haproxy.take_certificate()
                with haproxy.call(key) as renewed:
                    assert presented(renewed) not in (presented(before), presented(after))
                    responses += [respond(call) for call in (before, after, last, renewed)]
    eventually(lambda: first not in haproxy.workers())

    def charged() -> list[str]:
        return [name for row in cluster.usage_rows("caller") for name in row["response_ids"]]

    eventually(lambda: sorted(charged()) == sorted(responses))
