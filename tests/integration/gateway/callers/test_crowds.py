"""Many clients at once that take their time: honest ones are served among them."""

import contextlib
import json
import resource
import signal
import socket
import threading
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.support.certificates import Pem
from tests.support.harness import Cluster, Daemon, eventually
from tests.support.http_client import ask
from tests.support.simulator_client import write

PATH = "/v1/realtime?model=gpt-realtime&pace=0"
FEW = {"gateway.session_registry.PASSING_MAX": 20}
ONE = {"gateway.relay.sinks.PRE_OPEN_SESSIONS_MAX": 1}


def slow_clients(address: str, count: int, *, sent: bytes = b"GET / HT") -> list[socket.socket]:
    """Clients that never finish their request."""
    host, port = address.split(":")
    found = []
    for _ in range(count):
        client = socket.create_connection((host, int(port)), 20)
        with contextlib.suppress(OSError):
            client.sendall(sent)
        found.append(client)
    return found


def is_cut(client: socket.socket) -> bool:
    """Whether nothing more can come, what was answered aside."""
    client.settimeout(0)
    try:
        while client.recv(65_536):
            pass
        return True
    except BlockingIOError:
        return False
    except OSError:
        return True


def speak(address: str, key: str, path: str = PATH) -> ClientConnection:
    """A session."""
    headers = {"Authorization": f"Bearer {key}"}
    return connect(f"ws://{address}{path}", additional_headers=headers, legacy=True)


def metric(gateway: Daemon, name: str) -> float:
    """One of the gateway's numbers."""
    return gateway.metrics()[name]


def test_the_slowest_of_a_crowd_are_cut_first(cluster: Cluster) -> None:
    """On both ports, in the middle of a request or of TLS' handshake; who came last is still there,
    and so are sessions.
    """
    pem = Pem.make(cluster.folder, "crowd")
    gateway = cluster.start_gateway(tuned=FEW, GATEWAY_OPS_LISTEN="127.0.0.1:0", **pem.settings)
    key = cluster.create_account("honest")
    with speak(gateway.field("listen"), key) as session:
        session.recv(timeout=20)
        silent = slow_clients(gateway.field("tls"), 10, sent=b"")
        half = slow_clients(gateway.field("tls"), 10, sent=b"\x16\x03\x01\x02")
        # Each port has a queue of its own: this one's is empty when the last in it was answered.
        assert ask(gateway.field("tls"), "GET", "/healthz", tls=pem.trusting()).status == 200
        late = slow_clients(gateway.field("listen"), 18)
        eventually(lambda: all(map(is_cut, silent)))
        eventually(lambda: sum(map(is_cut, half)) >= 8)
        assert not any(map(is_cut, late))
        assert metric(gateway, "rts_gateway_clients_shed_total") in (18, 19)
        with speak(gateway.field("listen"), key) as other:
            other.recv(timeout=20)
        session.ping().wait(20)
        for each in (*silent, *half, *late):
            each.close()


@pytest.mark.parametrize("port", ["listen", "tls"])
def test_a_crowd_that_is_accepted_at_once_is_cut_to_size(cluster: Cluster, port: str) -> None:
    """Also those who came first, whom the event loop has not told of yet when there are too
    many; the others stay.
    """
    pem = Pem.make(cluster.folder, f"at-once-{port}")
    gateway = cluster.start_gateway(tuned=FEW, GATEWAY_OPS_LISTEN="127.0.0.1:0", **pem.settings)
    gateway.process.send_signal(signal.SIGSTOP)
    crowd = slow_clients(gateway.field(port), 25, sent=b"\x16" if port == "tls" else b"GET")
    gateway.process.send_signal(signal.SIGCONT)
    eventually(lambda: sum(map(is_cut, crowd)) == 5)  # at ten seconds all of them
    assert metric(gateway, "rts_gateway_clients_shed_total") == 5
    for each in crowd:
        each.close()


def test_who_is_cut_for_others_is_told_to_come_again(cluster: Cluster) -> None:
    """Where it had a connection, and no answer."""
    gateway = cluster.start_gateway(tuned=FEW, GATEWAY_OPS_LISTEN="127.0.0.1:0")
    first, *others = slow_clients(gateway.field("listen"), 21)
    first.settimeout(20)
    answer = b"".join(iter(lambda: first.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: " in answer
    for each in (first, *others):
        each.close()


def test_slow_clients_do_not_keep_the_last_descriptors(cluster: Cluster) -> None:
    """They have all of them: a client is served as soon as they have had their two seconds, and not
    when their ten are over.
    """
    gateway = cluster.start_gateway(GATEWAY_OPS_LISTEN="127.0.0.1:0")
    key, pid = cluster.create_account("patient"), gateway.process.pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (160, hard))
    slow = slow_clients(gateway.field("listen"), 100)
    with speak(gateway.field("listen"), key) as client:
        client.recv(timeout=20)
        assert metric(gateway, "rts_gateway_clients_shed_total") > 0
    for each in slow:
        each.close()


def test_a_crowd_before_its_providers_is_heard_when_they_are_there(cluster: Cluster) -> None:
    """One client's words are kept, the others are not read meanwhile. Nothing is lost."""
    gateway = cluster.start_gateway(tuned=ONE)
    key = cluster.create_account("dialling")
    clients = [speak(gateway.field("listen"), key, f"{PATH}&dial_ms=1500") for _ in range(4)]
    heard: list[list[Any]] = [[] for _ in clients]

    def talk(client: ClientConnection, into: list[Any]) -> None:
        for number in range(30):
            words = f"{number} " + "x" * 100_000
            client.send(json.dumps(write(words)))
        while len(into) < 30:
            event = json.loads(client.recv(timeout=30))
            if event["type"] == "conversation.item.added":
                into.append(event["item"]["content"][0]["text"].partition(" ")[0])
        client.close()

    talking = [
        threading.Thread(target=talk, args=each) for each in zip(clients, heard, strict=True)
    ]
    for thread in talking:
        thread.start()
    for thread in talking:
        thread.join()
    assert heard == [[str(number) for number in range(30)]] * 4


def test_every_way_to_end_a_dial_gives_its_place_back(cluster: Cluster) -> None:
    """The provider comes, refuses, or is too late for a client that has left."""
    gateway = cluster.start_gateway(GATEWAY_OPS_LISTEN="127.0.0.1:0")
    key = cluster.create_account("places")

    def dialling() -> float:
        return metric(gateway, "rts_gateway_sessions_dialling")

    for way in ("", "&refuse=401", "&refuse=503", "&dial_ms=60000"):
        client = speak(gateway.field("listen"), key, f"{PATH}{way}")
        if "dial_ms" in way:
            eventually(lambda: dialling() == 1)
        else:
            client.recv(timeout=20)
        client.close()
    eventually(lambda: dialling() == 0)
