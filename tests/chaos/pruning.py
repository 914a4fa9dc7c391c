"""``accountd prune`` killed, and its disk failing, again and again, beside an accountd under load.

``python -m tests.chaos.pruning --kills 50 --faults 10``. A real daemon serves a ledger of 150
megabytes and applies usage all the time. A prune is killed at a random moment, or a random system
call of it that writes or syncs fails (strace), and started again; after each the audit is right.
Whatever is left moves at the end: then the archive is proven, each row is in the ledger or in the
archive and in one of them only, and an account's statement says what it said before.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import click
from sqlcipher3 import dbapi2 as sqlcipher

from bench.big_ledger import build
from bench.running_accountd import account_of
from shared.usage import Usage, UsageBatch
from shared.wire import encode_envelope, encode_usage
from tests.support.harness import BIN, Cluster, cluster_folder, eventually
from tests.support.usage_socket import usage_socket

MEGABYTES: Final = 150
ACCOUNTS: Final = 20
BEFORE: Final = "2026-02-05"  # the ledger begins on 2025-11-30; a row every ten seconds
# System calls that fail, and up to which of them: a portion has about so many.
FAULTS: Final = (
    ("fdatasync:error=EIO", 12), ("fsync:error=EIO", 4), ("pwrite64:error=EIO", 2_000),
    ("pwrite64:error=ENOSPC", 2_000), ("unlink:error=EIO", 3),
)  # fmt: skip
KILL_S: Final = (0.25, 1.2)
FAULT_S: Final = 15.0  # by then it has come
PAUSE_S: Final = 0.02  # between two batches of usage
END_S: Final = 600.0
PRODUCER: Final = b"n" * 16


class World:
    """The daemon's ledger, the archive, and what is done to both."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self.cluster, self.rng = cluster, random.Random(seed)
        self.archive = cluster.folder / "old.archive"
        self.command = [
            str(BIN / "accountd"), "prune", "--before", BEFORE, "--archive", str(self.archive),
        ]  # fmt: skip
        self.failed = self.killed = self.sent = 0

    def start(self, *before: str) -> "subprocess.Popen[bytes]":
        """A prune, perhaps under another program."""
        return subprocess.Popen(
            [*before, *self.command], env=self.cluster.env, cwd=self.cluster.folder,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def kill(self) -> None:
        """SIGKILL at a random moment."""
        with self.start() as process:
            time.sleep(self.rng.uniform(*KILL_S))
            self.killed += process.poll() is None
            process.kill()

    def fail(self) -> None:
        """Let one of its system calls fail."""
        (call, highest) = self.rng.choice(FAULTS)
        fault = f"inject={call}:when={self.rng.randrange(1, highest + 1)}"
        with self.start("strace", "-f", "-o", "/dev/null", "-e", fault) as process:
            try:
                self.failed += process.wait(FAULT_S) != 0
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)

    def finish(self) -> None:
        """Run it to its end."""
        with self.start() as process:
            assert process.wait(END_S) == 0

    def check(self) -> None:
        """The audit is right."""
        found = self.cluster.audit()
        assert found["ok"], found

    def statement(self) -> Any:
        """That of one account, for the days that move."""
        asked = ("usage", account_of(1), "--by", "model", "--until", BEFORE)
        found = self.cluster.accountctl(*asked)
        return {name: value for name, value in found.items() if name != "archived_rows"}

    def ids(self) -> tuple[list[int], list[int]]:
        """The rows of the ledger and of the archive."""
        found = []
        for path in (self.cluster.folder / "accounts.db", self.archive):
            connection = sqlcipher.connect(str(path))
            key = (self.cluster.folder / "db.key").read_text().strip()
            connection.execute(f"PRAGMA key = \"x'{key}'\"")
            found.append([n for (n,) in connection.execute("SELECT id FROM usage ORDER BY id")])
            connection.close()
        return found[0], found[1]

    @contextmanager
    def load(self) -> Iterator[None]:
        """Usage, all the time."""
        is_over = threading.Event()

        def send() -> None:
            with usage_socket(self.cluster) as push:
                while not is_over.wait(PAUSE_S):
                    self.sent += 1
                    batch = UsageBatch(
                        account_of(0), "s", "openai", "m", "response", 1, (f"new{self.sent}",),
                        Usage(1, 1, 2), time.time_ns() // 1_000_000,
                    )  # fmt: skip
                    push.send_multipart(encode_envelope(PRODUCER, self.sent, encode_usage(batch)))

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()


@contextmanager
def world(seed: int) -> Iterator[World]:
    """A daemon that serves the big ledger."""
    with cluster_folder() as cluster:
        path = cluster.folder / "accounts.db"
        for file in cluster.folder.glob("accounts.db*"):
            file.unlink()
        key = (cluster.folder / "db.key").read_text().strip()
        build(path, key, megabytes=MEGABYTES, accounts=ACCOUNTS, schema=None)
        cluster.start_accountd()
        yield World(cluster, seed)


@click.command()
@click.option("--kills", default=50)
@click.option("--faults", default=10)
@click.option("--seed", default=lambda: time.time_ns() % 10_000)
def main(kills: int, faults: int, seed: int) -> None:
    """Run it, and say what was found."""
    with world(seed) as one:
        before, rows = one.statement(), one.cluster.audit()["usage_rows"]
        with one.load():
            acts = [one.kill] * kills + [one.fail] * faults
            one.rng.shuffle(acts)
            for act in acts:
                act()
                one.check()
            moved = one.cluster.audit()["archived_rows"]
            one.finish()
        eventually(lambda: one.cluster.audit()["producers"]["incomplete_total"] == 0)
        eventually(lambda: sum(map(len, one.ids())) == rows + one.sent, seconds=60)
        found = one.cluster.audit()
        kept, archived = one.ids()
        assert found["ok"], found
        assert not set(kept) & set(archived)
        assert (found["usage_rows"], found["archived_rows"]) == (len(kept), len(archived))
        assert one.statement() == before
        proof = one.cluster.run("accountd", "archive", str(one.archive))
        assert proof.returncode == 0, proof.stdout
        click.echo(
            f"seed {seed}: {one.killed} of {kills} killed at work, {one.failed} of {faults} failed;"
            f" {moved:,} of {len(archived):,} rows had moved by then; {one.sent:,} batches beside;"
            " lost 0, doubled 0, audit right after each, archive proven"
        )


if __name__ == "__main__":
    sys.exit(main())
