"""The drills of OPERATIONS, as an operator types them: real processes, a real encrypted file."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from bench import big_ledger
from tests.support import systemctl
from tests.support.drills import Step, drills
from tests.support.harness import BIN, Cluster, cluster_folder
from tests.support.usage_socket import charge, usage_socket

DRILLS = drills()
ROWS = 50
STEP_S = 60.0


ORIGINAL: Final = Path(__file__).parent / "data" / "original"


@pytest.fixture
def folder() -> Iterator[Cluster]:
    """Where accountd is not installed yet, with ``systemctl``."""
    with cluster_folder() as cluster:
        tools = cluster.folder / "bin"
        tools.mkdir()
        program = tools / "systemctl"
        program.write_text(f"#!{sys.executable}\n{Path(systemctl.__file__).read_text()}")
        program.chmod(0o755)
        cluster.env |= {
            "ACCOUNTD": str(BIN / "accountd"),
            "PATH": os.pathsep.join([str(tools), str(BIN), os.environ["PATH"]]),
        }
        try:
            yield cluster
        finally:
            _typed(cluster, "systemctl stop accountd")


def serving(cluster: Cluster) -> None:
    """An account with usage."""
    _typed(cluster, "systemctl start accountd")
    cluster.create_account("acct_1", tokens=100_000)
    with usage_socket(cluster) as push:
        charge(cluster, push, "acct_1", rows=ROWS)


def large(cluster: Cluster, *, megabytes: int, schema: int | None) -> None:
    """A ledger of a year ago, in place of the one that is there."""
    _without_database(cluster)
    key = (cluster.folder / "db.key").read_text().strip()
    path = cluster.folder / "accounts.db"
    big_ledger.build(path, key, megabytes=megabytes, accounts=20, schema=schema)


def pruned(cluster: Cluster) -> None:
    """One with rows that can move."""
    large(cluster, megabytes=10, schema=None)
    _typed(cluster, "systemctl start accountd")


def original(cluster: Cluster) -> None:
    """The files of the original system, which was killed."""
    _without_database(cluster)
    key = cluster.folder / "db.key"
    key.chmod(0o600)
    key.write_text("it's a passphrase\n")
    for suffix in ("", "-wal"):
        shutil.copy(ORIGINAL / f"hot.db{suffix}", cluster.folder / f"accounts.db{suffix}")
        (cluster.folder / f"accounts.db{suffix}").chmod(0o644)


PREPARATIONS: Final[dict[str, Callable[[Cluster], None]]] = {
    "move old usage into an archive": pruned,
    "upgrade accountd, and go back": partial(large, megabytes=2, schema=13),
    "take over the database of the original system": original,
}


def test_each_preparation_is_of_a_drill() -> None:
    """A drill that gets another name does not lose its own."""
    assert PREPARATIONS.keys() < DRILLS.keys()


@pytest.mark.parametrize("name", DRILLS)
def test_a_drill_does_what_the_page_says(folder: Cluster, name: str) -> None:
    """Each line prints what stands below it, and ends as it says."""
    PREPARATIONS.get(name, serving)(folder)
    assert DRILLS[name]
    for step in DRILLS[name]:
        done = _typed(folder, step.command)
        assert done.returncode == step.exit_code, _told(step, done)
        assert step.matches(done.stdout), _told(step, done)


def _without_database(cluster: Cluster) -> None:
    for leftover in cluster.folder.glob("accounts.db*"):
        leftover.unlink()


def _typed(cluster: Cluster, command: str) -> "subprocess.CompletedProcess[str]":
    shell = shutil.which("bash")
    assert shell is not None
    return subprocess.run(
        [shell, "-c", command], env=cluster.env, cwd=cluster.folder, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=STEP_S,
    )  # fmt: skip


def _told(step: Step, done: "subprocess.CompletedProcess[str]") -> str:
    expected = "\n".join(step.output)
    return (
        f"$ {step.command}\nprinted (exit {done.returncode}):\n{done.stdout}\n"
        f"expected (exit {step.exit_code}):\n{expected}"
    )
