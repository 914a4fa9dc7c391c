"""A disk that fails or is full under a running accountd; strace and a small tmpfs play the disk."""

import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq
from sqlcipher3 import dbapi2 as sqlcipher

from accountd.ctl.client import call
from shared.requests import Request, encode_request
from shared.usage import Usage, UsageBatch
from shared.wire import encode_envelope, encode_usage
from tests.support import http_client
from tests.support.harness import Cluster, Daemon, cluster_folder, eventually
from tests.support.usage_socket import usage_socket

STRACE = shutil.which("strace")
needs_strace = pytest.mark.skipif(STRACE is None, reason="strace is not installed")
BATCHES = 40
EXIT_S = 20.0
DISK_BYTES = 2 * 2**20


class Gateway:
    """A gateway's usage socket, which keeps everything and can send all of it again."""

    def __init__(self, cluster: Cluster, push: "zmq.Socket[bytes]") -> None:
        self._cluster = cluster
        self._push = push

    def send(self, producer: bytes, first: int, last: int) -> None:
        """Send a range of batches; each is one token."""
        batch = UsageBatch("acct", "s", "openai", "m", "response", 1, ("r",), Usage(1, 0, 1), 0)
        for sequence in range(first, last + 1):
            self._push.send_multipart(encode_envelope(producer, sequence, encode_usage(batch)))

    def applied_through(self, producer: bytes) -> int:
        """The committed watermark."""
        endpoint = self._cluster.env["ACCOUNTD_RPC_ENDPOINT"]
        found = call(endpoint, "sync", {"producers": [producer]})["applied_through"][0]
        assert isinstance(found, int)
        return found


@contextmanager
def running_on(cluster: Cluster) -> Iterator[Gateway]:
    """accountd with the account ``acct`` and a gateway that feeds it."""
    cluster.env["ACCOUNTD_OPS_LISTEN"] = "127.0.0.1:0"
    cluster.start_accountd()
    cluster.create_account("acct", tokens=0)
    with usage_socket(cluster) as push:
        push.setsockopt(zmq.LINGER, 0)
        yield Gateway(cluster, push)


@contextmanager
def asked(cluster: Cluster, request: Request) -> Iterator[None]:
    """A request was sent, whose answer nobody waits for."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(cluster.env["ACCOUNTD_RPC_ENDPOINT"])
        socket.send_multipart([b"id", encode_request(request)])
        yield


def daemon_of(cluster: Cluster) -> Daemon:
    """The running accountd."""
    assert cluster.accountd is not None
    return cluster.accountd


@contextmanager
def injected(daemon: Daemon, fault: str) -> Iterator[None]:
    """strace makes system calls of the daemon fail, in the syntax of its ``inject=``."""
    assert STRACE is not None
    says = daemon.log.with_suffix(".strace")
    with says.open("wb") as stderr:
        strace = subprocess.Popen(
            [
                STRACE, "-f", "-p", str(daemon.process.pid), "-o", os.devnull,
                "-e", f"trace={fault.split(':', maxsplit=1)[0]}", "-e", f"inject={fault}",
            ],
            stderr=stderr, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        eventually(lambda: "attached" in says.read_text() or strace.poll() is not None)
        if "attached" not in says.read_text():
            pytest.skip(f"strace may not attach here: {says.read_text().strip()}")
        yield
    finally:
        strace.terminate()  # it lets go of the daemon when that still runs
        strace.wait(EXIT_S)


def readiness(daemon: Daemon) -> tuple[int, str]:
    """Status and detail of ``/readyz``."""
    return http_client.readiness(daemon.field("ops"))


def assert_charged_once(cluster: Cluster, batches: int) -> None:
    """The account paid one token for every batch, and the audit agrees."""
    assert cluster.accountctl("usage", "acct")["totals"]["total_tokens"] == batches
    assert cluster.accountctl("account", "show", "acct")["token_remaining"] == -batches
    assert cluster.audit()["ok"]


FATAL = [
    "pwrite64:error=EIO:when=1+",
    "pwrite64:error=EIO:when=2+",
    "pwrite64:error=EIO:when=9+",
    "pwrite64:error=EIO:when=25",
    "fsync:error=EIO:when=1+",
    "fsync:error=EIO:when=2+",
    # No space when it was to become durable: as ambiguous as any error of fsync.
    "fsync:error=ENOSPC:when=1+",
]


@needs_strace
def test_an_io_error_ends_the_daemon_and_loses_nothing() -> None:
    """Exit 74 with one line; after a restart and a full resend every batch is charged once."""
    with cluster_folder(is_measured=False) as cluster, running_on(cluster) as gateway:
        total = 0
        for number, fault in enumerate(FATAL, start=1):
            producer, daemon = bytes([number]) * 16, daemon_of(cluster)
            sequences = itertools.count(1)

            def sends_until_it_ends(
                daemon: Daemon = daemon,
                producer: bytes = producer,
                sequences: Iterator[int] = sequences,
            ) -> bool:
                sequence = next(sequences)
                gateway.send(producer, sequence, sequence)
                return daemon.process.poll() is not None

            with injected(daemon, fault):
                eventually(sends_until_it_ends)
            log, sent = daemon.log.read_text(), next(sequences) - 1
            assert daemon.process.returncode == 74, (fault, log)
            assert "accountd: I/O error on" in log.splitlines()[-1]
            assert "Traceback" not in log
            cluster.start_accountd()
            gateway.send(producer, 1, sent)
            eventually(lambda p=producer, n=sent: gateway.applied_through(p) == n)
            total += sent
            assert_charged_once(cluster, total)


@needs_strace
def test_an_io_error_of_a_request_ends_the_daemon_too() -> None:
    """Whoever asks for the write: a failed commit is ambiguous."""
    with cluster_folder(is_measured=False) as cluster, running_on(cluster):
        daemon = daemon_of(cluster)
        params = {"account_id": "acct", "amount": 5, "grant_id": "once"}
        with (
            injected(daemon, "fsync:error=EIO:when=1+"),
            asked(cluster, Request("account.topup", params)),
        ):
            assert daemon.process.wait(EXIT_S) == 74
        assert "accountd: I/O error on" in daemon.log.read_text().splitlines()[-1]
        cluster.start_accountd()
        again = cluster.accountctl("account", "topup", "acct", "5", "--id", "once")
        assert again["topup_remaining"] == 5
        assert cluster.audit()["ok"]


@needs_strace
def test_a_read_that_fails_under_an_authorization_ends_the_daemon_too() -> None:
    """It reads on a thread of its own, and the loop ends with what that thread met."""
    with cluster_folder(is_measured=False) as cluster, running_on(cluster):
        daemon = daemon_of(cluster)
        with (
            injected(daemon, "pread64:error=EIO:when=1+"),
            asked(cluster, Request("authorize", {"key_hash": "0" * 64})),
        ):
            # SQLCipher takes a first page that it cannot read for a damaged one.
            assert daemon.process.wait(EXIT_S) == 78
        log = daemon.log.read_text()
        assert "is damaged" in log.splitlines()[-1]
        assert "Traceback" not in log
        cluster.start_accountd()
        assert cluster.audit()["ok"]


@needs_strace
def test_no_space_for_a_moment_pauses_the_daemon() -> None:
    """It answers meanwhile, says so once, and goes on by itself."""
    with cluster_folder(is_measured=False) as cluster, running_on(cluster) as gateway:
        daemon, producer = daemon_of(cluster), b"p" * 16
        with injected(daemon, "pwrite64:error=ENOSPC:when=1+"):
            gateway.send(producer, 1, BATCHES)
            eventually(lambda: readiness(daemon) == (503, "disk full"))
            assert gateway.applied_through(producer) == 0  # requests are answered
        eventually(lambda: readiness(daemon)[0] == 200)
        eventually(lambda: gateway.applied_through(producer) == BATCHES)
        assert_charged_once(cluster, BATCHES)
        log = daemon.log.read_text()
        assert log.count('event="disk full"') == 1
        assert log.count('event="usage is applied again"') == 1
        assert daemon.stop() == 0


@contextmanager
def locked(cluster: Cluster) -> Iterator[None]:
    """Another program, with the key, holds the database's write lock."""
    connection = sqlcipher.connect(cluster.env["DB_PATH"], isolation_level=None)
    connection.execute(f"PRAGMA key = \"x'{(cluster.folder / 'db.key').read_text()}'\"")
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.rollback()
        connection.close()


def test_a_locked_database_pauses_the_daemon_until_it_is_free() -> None:
    """An operator's shell that holds a lock costs nothing but time."""
    with cluster_folder() as cluster, running_on(cluster) as gateway:
        daemon, producer = daemon_of(cluster), b"p" * 16
        with locked(cluster):
            gateway.send(producer, 1, BATCHES)
            eventually(lambda: readiness(daemon) == (503, "database locked"))
            refused = cluster.run("accountctl", "account", "topup", "acct", "5")
            assert refused.returncode == 75
            assert "busy: another program has locked the database" in refused.stderr
        eventually(lambda: gateway.applied_through(producer) == BATCHES)
        assert_charged_once(cluster, BATCHES)
        assert daemon.log.read_text().count('event="database locked"') == 1
        assert daemon.stop() == 0


def test_a_start_under_a_lock_is_not_now() -> None:
    """Exit 75 with one line that says what to do."""
    with cluster_folder() as cluster:
        with locked(cluster):
            done = cluster.run("accountd", "serve")
        assert done.returncode == 75
        assert "database locked" in done.stderr
        assert "close it" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        cluster.start_accountd()


def test_the_numbers_are_on_the_ops_port() -> None:
    """What was applied and what was refused is counted for Prometheus."""
    with cluster_folder() as cluster, running_on(cluster) as gateway:
        gateway.send(b"p" * 16, 1, 3)
        gateway.send(b"p" * 16, 1, 3)
        numbers = daemon_of(cluster).metrics
        eventually(lambda: numbers()["rts_accountd_duplicates_total"] == 3)
        assert numbers()["rts_accountd_batches_applied_total"] == 3
        assert numbers()["rts_accountd_waiting"] == 0


@pytest.fixture
def small_disk() -> Iterator[Cluster]:
    """A cluster whose database lies on a disk of 2 MB."""
    with cluster_folder() as cluster:
        disk = cluster.folder / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk)]
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.strip()}")
        try:
            cluster.env["DB_PATH"] = str(disk / "accounts.db")
            migrated = cluster.run("accountd", "migrate")
            assert migrated.returncode == 0, migrated.stderr
            yield cluster
        finally:
            cluster.kill()
            subprocess.run(["umount", str(disk)], check=True)


def fill(cluster: Cluster) -> Path:
    """A file that takes all the space that is left."""
    ballast = cluster.folder / "disk" / "ballast"
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(descriptor, bytes(4096))
    except OSError:
        return ballast
    finally:
        os.close(descriptor)


def test_a_full_disk_pauses_the_daemon_until_there_is_space(small_disk: Cluster) -> None:
    """Reads are answered, writes refused for now, usage waits; nothing is lost or charged twice."""
    with running_on(small_disk) as gateway:
        daemon, producer, batches = daemon_of(small_disk), b"p" * 16, 2_000
        ballast = fill(small_disk)
        gateway.send(producer, 1, batches)
        eventually(lambda: readiness(daemon) == (503, "disk full"))
        assert small_disk.accountctl("account", "show", "acct")["id"] == "acct"
        assert small_disk.audit()["ok"]
        refused = small_disk.run("accountctl", "account", "topup", "acct", "5")
        assert refused.returncode == 75
        assert refused.stderr == "accountctl: disk_full: the disk is full; free some space\n"
        ballast.unlink()
        eventually(lambda: gateway.applied_through(producer) == batches)
        assert readiness(daemon)[0] == 200
        assert_charged_once(small_disk, batches)
        assert daemon.log.read_text().count('event="disk full"') == 1
        topped = small_disk.accountctl("account", "topup", "acct", "5")
        assert topped["topup_remaining"] == 5


def test_stopping_and_starting_on_a_full_disk(small_disk: Cluster) -> None:
    """Both say 75, not now; with space again a resend brings everything."""
    with running_on(small_disk) as gateway:
        daemon, producer, batches = daemon_of(small_disk), b"p" * 16, 2_000
        ballast = fill(small_disk)
        gateway.send(producer, 1, batches)
        eventually(lambda: readiness(daemon)[0] == 503)
        assert daemon.stop() == 75
        fill(small_disk)  # what closing the database has freed
        started = small_disk.run("accountd", "serve")
        assert started.returncode == 75
        assert "is full" in started.stderr
        assert len(started.stderr.strip().splitlines()) == 1
        ballast.unlink()
        small_disk.start_accountd()
        gateway.send(producer, 1, batches)
        eventually(lambda: gateway.applied_through(producer) == batches)
        assert_charged_once(small_disk, batches)
