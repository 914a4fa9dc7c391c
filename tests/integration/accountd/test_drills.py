"""The drills of OPERATIONS, as an operator types them: real processes, a real encrypted file."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import systemctl
from tests.support.drills import Step, drills
from tests.support.harness import BIN, Cluster, cluster_folder
from tests.support.usage_socket import charge, usage_socket

DRILLS = drills()
ROWS = 50
STEP_S = 60.0


@pytest.fixture
def installation() -> Iterator[Cluster]:
    """An accountd that serves accounts with usage, in a folder with ``systemctl``."""
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
            _typed(cluster, "systemctl start accountd")
            cluster.create_account("acct_1", tokens=100_000)
            with usage_socket(cluster) as push:
                charge(cluster, push, "acct_1", rows=ROWS)
            yield cluster
        finally:
            _typed(cluster, "systemctl stop accountd")


@pytest.mark.parametrize("name", DRILLS)
def test_a_drill_does_what_the_page_says(installation: Cluster, name: str) -> None:
    """Each line prints what stands below it, and ends as it says."""
    assert DRILLS[name]
    for step in DRILLS[name]:
        done = _typed(installation, step.command)
        assert done.returncode == step.exit_code, _told(step, done)
        assert step.matches(done.stdout), _told(step, done)


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
