"""``make up`` and ``make down`` as a new user types them, in a folder of their own."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.process import started
from deploy.snippet import snippet_of

ROOT = Path(__file__).resolve().parents[2]
VENV = Path(sys.executable).parent.parent


@dataclass
class Clone:
    """A copy of the project with ports of its own."""

    folder: Path
    env: dict[str, str]

    def make(self, target: str) -> "subprocess.CompletedProcess[str]":
        """Run a target."""
        # The test's own environment serves: making one takes a minute, and .ci/run does that.
        stamp = ["VENV=" + str(VENV), "-o", str(VENV / ".installed")]
        return subprocess.run(
            ["make", *stamp, target], cwd=self.folder, env=self.env,
            capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip

    def pids(self) -> dict[str, str]:
        """Service to pid file content."""
        return {p.stem: p.read_text() for p in (self.folder / "var" / "run").glob("*.json")}


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, next to each other."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            first = int(probe.getsockname()[1])
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return list(range(first, first + count))


@pytest.fixture
def clone() -> Iterator[Clone]:
    """The files that git knows, as they are in the working tree."""
    folder = Path(tempfile.mkdtemp(prefix="rts-up-"))
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    for name in names:
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    ports = free_ports(5)
    env = {
        "PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "RTS_ENGINE": "process",
        "RTS_PORT": str(ports[0]), "RTS_SIMULATOR_PORT": str(ports[1]),
        "RTS_OPS_PORT": str(ports[2]),
    }  # fmt: skip
    made = Clone(folder, env)
    try:
        yield made
    finally:
        made.make("down")
        shutil.rmtree(folder)


def test_up_twice_talk_and_down(clone: Clone) -> None:
    """The cluster comes up, the printed program works as printed, and nothing is left behind."""
    first = clone.make("up")
    assert first.returncode == 0, first.stdout + first.stderr
    before = clone.pids()
    assert set(before) == {"accountd", "simulator", "gateway-1", "gateway-2"}
    env_file = clone.folder / "var" / "cluster.env"
    assert env_file.stat().st_mode & 0o077 == 0
    assert (clone.folder / "var" / "secrets" / "db.key").stat().st_mode & 0o077 == 0
    values = dict(line.split("=", 1) for line in env_file.read_text().splitlines())
    assert values["GATEWAY_URL"] == f"ws://127.0.0.1:{clone.env['RTS_PORT']}"

    talk = subprocess.run(
        [sys.executable, "-c", snippet_of(first.stdout)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert talk.returncode == 0, talk.stderr
    assert "tokens" in talk.stdout
    usage = subprocess.run(
        [str(VENV / "bin" / "accountctl"), "usage", values["ACCOUNT_ID"]],
        cwd=clone.folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert usage.returncode == 0
    assert f" {talk.stdout.split()[-2]} " in usage.stdout

    again = clone.make("up")
    assert again.returncode == 0
    assert again.stdout.count("is already running") == 4
    assert clone.pids() == before, "nothing was started anew"
    assert env_file.read_text().splitlines() == [f"{n}={v}" for n, v in values.items()]

    assert clone.make("down").returncode == 0
    assert clone.pids() == {}
    assert all(started(int(content.split(":")[1].split(",")[0])) is None
               for content in before.values())  # fmt: skip
    assert "nothing was running" in clone.make("down").stdout


def test_a_taken_port_is_one_clear_line(clone: Clone) -> None:
    """Somebody else listens there: it says so, and stops what it had started."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(clone.env["RTS_PORT"])))
        other.listen()
        done = clone.make("up")
    assert done.returncode != 0
    assert f"cannot listen on 127.0.0.1:{clone.env['RTS_PORT']}" in done.stderr
    assert clone.pids() == {}
