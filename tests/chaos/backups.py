"""``python -m tests.chaos.backups [--points 50]``: backups and proofs, cut off anywhere.

``accountd backup`` and ``accountd verify`` of the database that a killed accountd left, and the
backups that a running accountd has made by its child while usage comes. strace counts the system
calls with which each changes the disk, kills it before some of them, and lets others fail. After
each the database is what it was, a backup that has its name is whole, the error is one line that
says what there is, and the next try works and removes what was left.
"""

import hashlib
import os
import random
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import click

from accountd.data import database
from accountd.maintenance.manifests import differences, read_manifest
from accountd.maintenance.verifying import verify
from bench import big_ledger
from shared.errors import OperatorError
from tests.support.backups import back_up, key_of
from tests.support.cut_offs import CutOffs
from tests.support.database import create_account
from tests.support.harness import BIN, Cluster, cluster_folder, eventually
from tests.support.killed import killed_at
from tests.support.usage_socket import charge, usage_socket

MEGABYTES: Final = 6
CALLS: Final = (
    "pwrite64", "write", "fsync", "fdatasync", "rename", "unlink", "ftruncate", "openat",
)  # fmt: skip
FAULTS: Final = (
    "write:error=ENOSPC", "write:error=EIO", "pwrite64:error=ENOSPC", "pwrite64:error=EIO",
    "pwrite64:retval=100", "fdatasync:error=EIO", "fsync:error=EIO", "rename:error=EIO",
    "rename:error=EACCES", "rename:error=ENOSPC",
)  # fmt: skip
EXIT_CODES: Final = (74, 75, 78)
ROWS: Final = 100  # of usage beside each backup of a running accountd
TIMEOUT_S: Final = 60.0
SHOWN_MAX: Final = 20
# What an error may say is left; the last: what had been made could not be told.
_LEFT: Final = ("no backup was made", "nothing was proven", "only where it is whole", "output")
_EXPECTED: Final = re.compile('event="(backup failed|journal is new)"')  # in the daemon's log
_COUNTED: Final = re.compile(r"^\d+\s+(\w+)\((.*)", re.MULTILINE)


@dataclass(frozen=True)
class Done:
    """How one try ended. ``code`` is below 0 where it was killed."""

    code: int
    error: str


class Target(Protocol):
    """What is cut off."""

    name: str

    def run(self, *options: str) -> Done:
        """Run it under strace with these options."""

    def look(self) -> None:
        """Raise ``AssertionError`` where the database is not what it was."""


class Command:
    """A command on the files that a killed accountd left."""

    def __init__(self, cluster: Cluster, *command: str) -> None:
        self.name, self._cluster, self._command = command[0], cluster, command
        self._digests = self._of_database()

    def run(self, *options: str) -> Done:
        """As a process of its own."""
        done = subprocess.run(
            ["strace", "-f", *options, str(BIN / "accountd"), *self._command],
            env=self._cluster.env, cwd=self._cluster.folder,
            capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
        return Done(done.returncode, done.stderr)

    def look(self) -> None:
        """Not a byte of the database and its log has changed."""
        assert self._of_database() == self._digests, "the database was changed"

    def _of_database(self) -> list[str]:
        path = self._cluster.folder / "accounts.db"
        files = (path, Path(f"{path}-wal"))
        return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


class Child:
    """The child of a running accountd, while usage comes."""

    name = "a running accountd's backup"

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        cluster.start_accountd()
        cluster.create_account("acct")

    def run(self, *options: str) -> Done:
        """Asked for over RPC; strace attaches itself before Python has loaded the modules."""
        self._rows()
        with self._usage():
            destination = str(self._cluster.folder / "cut.db")
            number = self._cluster.ask("backup.start", destination=destination)["number"]
            pid = eventually(self._child)
            with subprocess.Popen(
                ["strace", "-f", "-p", pid, *options],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            ) as strace:  # fmt: skip
                state = eventually(lambda: self._ended(number), seconds=TIMEOUT_S)
                strace.send_signal(signal.SIGINT)
        if state["manifest"] is not None:
            return Done(0, "")
        was_killed = "SIGKILL" in state["error"]
        return Done(-signal.SIGKILL if was_killed else state["exit_code"], state["error"])

    def look(self) -> None:
        """The running accountd goes on, and has said of nothing but of backups."""
        accountd = self._cluster.accountd
        assert accountd is not None
        assert accountd.process.poll() is None, "accountd has ended"
        others = [line for line in accountd.complaints() if not _EXPECTED.search(line)]
        assert not others, others
        found = self._cluster.audit()
        assert found["ok"], found

    def _ended(self, number: int) -> dict[str, object] | None:
        state: dict[str, object] = self._cluster.ask("backup.state", number=number)
        is_over = state["manifest"] is not None or state["error"] is not None
        return state if is_over else None

    def _child(self) -> str:
        accountd = self._cluster.accountd
        assert accountd is not None
        tasks = Path(f"/proc/{accountd.process.pid}/task").glob("*/children")
        return "".join(task.read_text() for task in tasks).strip()

    def _rows(self) -> int:
        rows: int = self._cluster.audit()["usage_rows"]
        return rows

    @contextmanager
    def _usage(self) -> Iterator[None]:
        def send() -> None:
            with usage_socket(self._cluster) as push:
                charge(self._cluster, push, "acct", rows=ROWS, producer=os.urandom(16))

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield
        finally:
            thread.join()


class Torment:
    """Cuts one target off, again and again."""

    def __init__(self, cluster: Cluster, target: Target, chance: random.Random) -> None:
        self._cluster, self._target, self._chance = cluster, target, chance
        self._cut = cluster.folder / "cut.db"
        self.report = CutOffs(target.name, "whole backups")

    def run(self, points: int, faults: int) -> CutOffs:
        """All of it."""
        counts = self._counts()
        for _ in range(points):
            call = self._chance.choice(list(counts))
            number = self._chance.randint(1, counts[call])
            self._try(f"{call}:signal=SIGKILL:when={number}")
            self.report.kills += 1
        for fault in FAULTS[:faults]:
            number = self._chance.randint(1, counts.get(fault.partition(":")[0], 1))
            self._try(f"{fault}:when={number}")
            self.report.faults += 1
        return self.report

    def _counts(self) -> dict[str, int]:
        """How often it makes each call that changes a file, without its own output."""
        log = self._cluster.folder / "calls.strace"
        done = self._target.run("-o", str(log), "-e", f"trace={','.join(CALLS)}")
        assert done.code == 0, done
        self._remove()
        found: dict[str, int] = {}
        for call, rest in _COUNTED.findall(log.read_text()):
            if call == "openat" or not rest.startswith(("1,", "2,")):
                found[call] = found.get(call, 0) + 1
        log.unlink()
        return found

    def _try(self, fault: str) -> None:
        """Cut it off, and look at what is left."""
        try:
            done = self._target.run("-o", os.devnull, "-e", f"inject={fault}")
            if "SIGKILL" not in fault:
                self.report.told += done.code != 0
            if done.code > 0:
                self._look_at_error(fault, done)
            self._look(done)
            self._again()
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is what is looked for
            self.report.problems.append(f"{fault}: {exc!r}"[:1_000])
        finally:
            self._remove()

    def _look_at_error(self, fault: str, done: Done) -> None:
        if done.code == 1 and "retval" in fault:
            return  # the disk lost what it said it had written, and the proof says so
        lines = done.error.strip().splitlines()
        if done.code not in EXIT_CODES or len(lines) != 1:
            self.report.problems.append(f"{fault}: exit {done.code}: {done.error[-500:]}")
        elif not any(left in lines[0] for left in _LEFT):
            self.report.problems.append(f"{fault}: does not say what is left: {lines[0]}")

    def _look(self, done: Done) -> None:
        """The database is what it was; a backup with its name is whole."""
        self._target.look()
        if not self._cut.exists():
            is_made = done.code == 0 and "backup" in self._target.name
            assert not is_made, "it says that a backup was made"
            return
        manifest, found = read_manifest(self._cut), verify(self._cut, key_of(self._cluster))
        assert manifest is not None, "a backup has its name and no manifest"
        assert not found.problems, found.problems
        assert not differences(manifest, found)
        self.report.done += done.code != 0

    def _again(self) -> None:
        """The next try, without a fault: it works, and nothing half-made is left."""
        self._remove()
        if self._target.name == "verify":
            done = self._target.run("-o", os.devnull, "-e", "trace=none")
            assert done.code == 0, done
        else:
            back_up(self._cluster)
        self._target.look()
        left = [path.name for path in self._cluster.folder.glob(".*")]
        assert not left, left

    def _remove(self) -> None:
        for path in self._cluster.folder.glob("cut.db*"):
            path.unlink()


def prepare(cluster: Cluster) -> None:
    """A ledger whose newest rows are in the log that a killed process left."""
    path, key = cluster.folder / "accounts.db", key_of(cluster)
    for file in cluster.folder.glob("accounts.db*"):
        file.unlink()
    big_ledger.build(path, key, megabytes=MEGABYTES, accounts=50, schema=None)

    def die_with_a_log() -> None:
        with database.open_for_serving(path, key):
            create_account("since", tokens=7)
            os.kill(os.getpid(), signal.SIGKILL)

    killed_at(-1, die_with_a_log)
    assert Path(f"{path}-wal").stat().st_size


def torment(points: int, faults: int, seed: int) -> Iterator[CutOffs]:
    """The report of each."""
    with cluster_folder(is_measured=False) as cluster:
        prepare(cluster)
        targets = [Command(cluster, "backup", "cut.db"), Command(cluster, "verify")]
        for target in targets:
            yield Torment(cluster, target, random.Random(seed)).run(points, faults)
        yield Torment(cluster, Child(cluster), random.Random(seed)).run(points, faults)


@click.command()
@click.option("--points", default=50, show_default=True, help="Kills of each command.")
@click.option("--faults", default=len(FAULTS), show_default=True, help="I/O faults of each.")
@click.option("--seed", type=int, help="Repeats the places of a run.")
def main(*, points: int, faults: int, seed: int | None) -> None:
    """Cut off backups and proofs at random places."""
    if shutil.which("strace") is None:
        raise OperatorError("strace is not installed")
    seed = secrets.randbits(32) if seed is None else seed
    click.echo(f"seed {seed}")
    problems, began = 0, time.monotonic()
    for report in torment(points, faults, seed):
        click.echo(f"{report.line()}, {time.monotonic() - began:.0f} s")
        problems += len(report.problems)
        for problem in report.problems[:SHOWN_MAX]:
            click.echo(f"  {problem}")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
