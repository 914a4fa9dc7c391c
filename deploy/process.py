"""Background processes of the local cluster: started once, known by a pid file, stopped by it.

A pid file holds the pid *and* the time at which that process started: a pid alone may belong to
somebody else by now, and only what was started here is ever stopped here.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

BIN = Path(sys.executable).parent
VAR = Path("var")  # relative: the path of a Unix socket holds at most 107 bytes
RUN, LOG = VAR / "run", VAR / "log"

READY_S = 30.0
STOP_S = 30.0
SHOWN_LOG_LINES = 12


class ClusterError(Exception):
    """The cluster cannot be started; the text is for the person who typed ``make up``."""


@dataclass(frozen=True)
class Service:
    """A background process, known by its pid file."""

    name: str
    command: tuple[str, ...]
    probe: str
    env: dict[str, str] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return LOG / f"{self.name}.log"

    def start(self) -> bool:
        """Start it in a session of its own; false when it runs already."""
        if running_pid(self.name) is not None:
            return False
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [str(BIN / self.command[0]), *self.command[1:]],
                env={**os.environ, **self.env}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        write_private(
            pid_file(self.name), json.dumps({"pid": process.pid, "started": started(process.pid)})
        )
        return True

    def wait_ready(self) -> None:
        """Wait for its probe; raises ``ClusterError`` with the end of its log."""
        deadline = time.monotonic() + READY_S
        while not answers(self.probe):
            if running_pid(self.name) is None or time.monotonic() > deadline:
                tail = self.log.read_text(errors="replace").splitlines()[-SHOWN_LOG_LINES:]
                raise ClusterError(
                    f"{self.name} did not become ready; the end of {self.log}:\n    "
                    + "\n    ".join(tail)
                )
            time.sleep(0.05)


def pid_file(name: str) -> Path:
    """Where the process of a service is remembered."""
    return RUN / f"{name}.json"


def started(pid: int) -> str | None:
    """When a process started (clock ticks since boot); None when there is none or it is dead."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def running_pid(name: str) -> int | None:
    """The pid of a service that we started and that still runs."""
    try:
        known = json.loads(pid_file(name).read_text())
    except (OSError, ValueError):
        return None
    pid = int(known["pid"])
    return pid if known["started"] is not None and started(pid) == known["started"] else None


def stop(name: str) -> bool:
    """SIGTERM, then SIGKILL after a while; false when it did not run."""
    pid = running_pid(name)
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        while running_pid(name) is not None and time.monotonic() < deadline:
            time.sleep(0.05)
        if running_pid(name) is not None:
            os.kill(pid, signal.SIGKILL)
    pid_file(name).unlink(missing_ok=True)
    return pid is not None


def answers(url: str) -> bool:
    """Whether an HTTP probe says 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - our own URL
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
