"""The ops port: slow clients and crowds do not keep it from a probe, and leave nothing behind."""

import socket
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest

from shared import ops_server
from shared.config import Address
from shared.metrics import Metrics
from shared.ops_server import CONNECTIONS_MAX, Health, OpsServer
from tests.support.harness import eventually

PROBE = b"GET /healthz HTTP/1.1\r\nHost: ops\r\n\r\n"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpsServer]:
    """One that gives a request a second."""
    monkeypatch.setattr(ops_server, "REQUEST_TIMEOUT_S", 1.0)
    made = OpsServer(
        Address("127.0.0.1", 0), live=lambda: Health(True), ready=lambda: Health(True),
        metrics=Metrics([]),
    )  # fmt: skip
    yield made
    made.close()


def client(server: OpsServer, sent: bytes = b"") -> socket.socket:
    """One that has sent something."""
    found = socket.create_connection((server.address.host, server.address.port), 20)
    found.sendall(sent)
    return found


def test_a_request_that_does_not_end_is_cut(
    server: OpsServer, capfd: pytest.CaptureFixture[str]
) -> None:
    """However often a byte of it comes; nothing is written about it."""
    slow = client(server, PROBE[:-2])

    def is_cut() -> bool:
        try:
            slow.sendall(b"x")
        except OSError:
            return True
        return False

    eventually(is_cut, seconds=20)
    slow.close()
    assert capfd.readouterr().err == ""


def test_who_asks_again_and_again_is_served(server: OpsServer) -> None:
    """The time of a connection counts from its last answer: one that is idle is cut before it."""
    scraper = HTTPConnection(server.address.host, server.address.port, timeout=20)
    scraper.connect()
    with client(server) as idle:
        idle.settimeout(0)

        def is_cut() -> bool:
            scraper.request("GET", "/healthz")
            assert scraper.getresponse().read() == b'{"status": "ok"}'
            try:
                return idle.recv(1) == b""
            except BlockingIOError:
                return False

        connection = scraper.sock
        eventually(is_cut, seconds=20)
        is_cut()
        assert scraper.sock is connection
    scraper.close()


def test_of_a_crowd_the_first_gives_way_to_a_probe(
    server: OpsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long before its time is over."""
    monkeypatch.setattr(ops_server, "REQUEST_TIMEOUT_S", 600.0)
    crowd = [client(server, PROBE[:-2]) for _ in range(CONNECTIONS_MAX)]
    with client(server, PROBE) as probe:
        assert probe.recv(4096).startswith(b"HTTP/1.1 200 ")
    crowd[0].settimeout(20)
    assert crowd[0].recv(1) == b""
    crowd[-1].settimeout(0)
    with pytest.raises(BlockingIOError):
        crowd[-1].recv(1)
    for each in crowd:
        each.close()
