"""A long CSV file: sent at the client's pace, whole or visibly not, without delaying others."""

import contextlib
import csv
import http.client
import io
import json
import signal
import socket
import struct
import time
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from gateway.limits import DOWNLOADS_EACH, GATEWAY_DRAIN_S
from tests.support.harness import Cluster, Daemon, cluster_folder, eventually
from tests.support.http_client import ask
from tests.support.tuned import PATIENT_RPC, SOON_AWAY
from tests.support.usage_socket import charge, usage_socket

ROWS = 30_000
BROKEN_OFF = (http.client.IncompleteRead, ConnectionResetError)
PATH = "/api/usage.csv"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """An account with more charges than sockets buffer, and one with none."""
    with cluster_folder() as running, usage_socket(running) as push:
        running.start_accountd()
        running.start_simulator()
        for account in ("busy", "calm"):
            running.env[f"KEY_{account}"] = running.create_account(account, tokens=10**9)
        charge(running, push, "busy", rows=ROWS)
        running.start_gateway(GATEWAY_PAGE="yes")
        yield running


class Reader:
    """A download of the busy account's file that is taken when the test says so."""

    def __init__(self, cluster: Cluster, version: str = "1.1") -> None:
        host, port = cluster.address.split(":")
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(30)
        self.socket.connect((host, int(port)))
        self.socket.sendall(
            f"GET {PATH} HTTP/{version}\r\nHost: {cluster.address}\r\n"
            f"Authorization: Bearer {cluster.env['KEY_busy']}\r\n\r\n".encode()
        )
        self.response = http.client.HTTPResponse(self.socket)
        self.response.begin()

    def __enter__(self) -> "Reader":
        if self.response.status != HTTPStatus.OK:
            self.__exit__()
            raise AssertionError(f"found {self.response.status}")
        return self

    def __exit__(self, *_: object) -> None:
        self.response.close()
        self.socket.close()


def rows(body: bytes) -> list[str]:
    """The numbers of the charges in a file."""
    return [row["session_id"][:6] for row in csv.DictReader(io.StringIO(body.decode()))]


def await_accountd(cluster: Cluster) -> None:
    """Wait until the gateway has found it again."""
    key = cluster.env["KEY_calm"]
    eventually(lambda: ask(cluster.address, "GET", "/api/account", key=key).status == HTTPStatus.OK)


def test_a_file_has_every_charge_once(cluster: Cluster) -> None:
    """However many there are, newest first, in chunks of which the last says that it is."""
    with Reader(cluster) as reader:
        assert reader.response.headers["Transfer-Encoding"] == "chunked"
        assert rows(reader.response.read()) == [f"{n:06}" for n in range(ROWS, 0, -1)]


def test_an_old_client_gets_it_without_chunks(cluster: Cluster) -> None:
    """HTTP/1.0 knows none: the end of the connection is the end of the file."""
    with Reader(cluster, "1.0") as reader:
        assert "Transfer-Encoding" not in reader.response.headers
        assert len(rows(reader.response.read())) == ROWS


def test_what_is_not_taken_is_not_made(cluster: Cluster) -> None:
    """A client that reads nothing holds a little of the file only; accountd is not asked for more.

    When accountd then is gone for good, the file breaks off, and the client sees that.
    """
    assert cluster.accountd is not None
    gateway = cluster.start_gateway(tuned=SOON_AWAY, GATEWAY_PAGE="yes")
    cluster.gateways.insert(0, cluster.gateways.pop())
    with Reader(cluster) as reader:
        time.sleep(1)  # all the time that making it takes
        cluster.accountd.stop(signal.SIGKILL)
        taken = 0
        with pytest.raises(BROKEN_OFF):
            while piece := reader.response.read(10_000):
                taken += len(piece)
    cluster.start_accountd()
    assert 0 < taken < ROWS * 280 / 10
    eventually(lambda: "download broken off" in gateway.log.read_text())
    await_accountd(cluster)
    cluster.gateways.remove(gateway)
    assert gateway.stop() == 0
    await_accountd(cluster)


def test_a_restart_of_accountd_is_waited_for(cluster: Cluster) -> None:
    """The file goes on where it was."""
    assert cluster.accountd is not None
    with Reader(cluster) as reader:
        begun = reader.response.read(100_000)
        cluster.accountd.stop(signal.SIGKILL)
        cluster.start_accountd()
        assert len(rows(begun + reader.response.read())) == ROWS


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_key_that_is_revoked_reads_no_further(cluster: Cluster, version: str) -> None:
    """It is checked for each page; what was read does not seem to be all, in HTTP/1.0 either."""
    key = cluster.accountctl("key", "create", "busy", "--label", "short")
    held, cluster.env["KEY_busy"] = cluster.env["KEY_busy"], key["key"]
    with Reader(cluster, version) as reader:
        cluster.env["KEY_busy"] = held
        reader.response.read(1_000)
        cluster.accountctl("key", "revoke", key["key_hash"])
        with pytest.raises(BROKEN_OFF):
            reader.response.read()


def downloads(gateway: Daemon) -> float:
    """How many files a gateway is sending, as it says itself."""
    return gateway.metrics()["rts_gateway_downloads"]


def test_one_key_reads_so_many_files_at_once(cluster: Cluster) -> None:
    """The next one of the key gets 429, other keys do not; a client that leaves makes room."""
    gateway = cluster.start_gateway(GATEWAY_PAGE="yes", GATEWAY_OPS_LISTEN="127.0.0.1:0")
    cluster.gateways.insert(0, cluster.gateways.pop())
    address = gateway.field("listen")

    def status(account: str) -> int:
        return ask(address, "GET", PATH, key=cluster.env[f"KEY_{account}"]).status

    with contextlib.ExitStack() as readers:
        for _ in range(DOWNLOADS_EACH):
            readers.enter_context(Reader(cluster))
        eventually(lambda: downloads(gateway) == DOWNLOADS_EACH)
        assert (status("busy"), status("calm")) == (429, 200)
        assert downloads(gateway) == DOWNLOADS_EACH
    eventually(lambda: downloads(gateway) == 0)
    assert status("busy") == HTTPStatus.OK
    cluster.gateways.remove(gateway)
    assert gateway.stop() == 0


def test_a_client_that_leaves_ends_it(cluster: Cluster) -> None:
    """With a reset in the middle, which logs no error."""
    with Reader(cluster) as reader:
        reader.response.read(1_000)
        reader.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert ask(cluster.address, "GET", "/healthz").status == HTTPStatus.OK


def test_a_gateway_that_stops_waits_briefly_for_files(cluster: Cluster) -> None:
    """And not at all for connections that ask for nothing; neither is a complaint.

    What waits for accountd is told at once: here for minutes its silence would not be noticed.
    """
    gateway = cluster.start_gateway(tuned=PATIENT_RPC, GATEWAY_PAGE="yes")
    host, port = gateway.field("listen").split(":")
    cluster.gateways.insert(0, cluster.gateways.pop())
    assert cluster.accountd is not None
    with Reader(cluster, "1.0") as reader, socket.create_connection((host, int(port))):
        began = time.monotonic()
        cluster.accountd.process.send_signal(signal.SIGSTOP)
        try:
            waiting = http.client.HTTPConnection(host, int(port), timeout=30)
            key = cluster.env["KEY_calm"]
            waiting.request("GET", "/api/account", headers={"Authorization": f"Bearer {key}"})
            # Who came later has an answer: the question above waits for accountd.
            assert ask(f"{host}:{port}", "GET", "/healthz").status == HTTPStatus.OK
            gateway.process.send_signal(signal.SIGTERM)
            answer = waiting.getresponse()
            assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE
            assert json.load(answer)["error"]["code"] == "service_unavailable"
            waiting.close()
        finally:
            cluster.accountd.process.send_signal(signal.SIGCONT)
        assert gateway.stop() == 0
        took = time.monotonic() - began
        with pytest.raises(ConnectionResetError):
            reader.response.read()
    cluster.gateways.remove(gateway)
    assert took < GATEWAY_DRAIN_S, "a session would have had so long"
    log = gateway.log.read_text()
    assert "answers cut off" in log
    assert "sessions cut off" not in log
    assert gateway.complaints() == []
