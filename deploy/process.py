"""Background processes of the local cluster, each identified by a pid file.

A pid file holds the pid and the start time of the process. The kernel reuses pids, so without the
start time ``make down`` could stop another process.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from deploy.providers import PREFIXES

BIN = Path(sys.executable).parent
VAR = Path("var")  # relative: the path of a Unix socket holds at most 107 bytes
RUN, LOG, SPOOL = VAR / "run", VAR / "log", VAR / "spool"

READY_S = 30.0
# A gateway may need 30 s to stop: 2 x 10 s for responses to finish, 5 s for the close handshake
# and 5 s to deliver usage. A gateway that is killed before that loses the responses in progress.
STOP_S = 45.0
SHOWN_LOG_LINES = 12

# The prefixes of variables that ``make up`` sets itself: a value from the caller's environment
# (another database, a log level) does not reach the services. The providers' (OPENAI_…) do.
DECIDED_HERE = ("DB_", "ACCOUNTD_", "GATEWAY_", "SIMULATOR_", "LOG_LEVEL", "LOG_FORMAT")


class ClusterError(Exception):
    """The cluster cannot be started; the message is for the user of ``make up``."""


@dataclass(frozen=True)
class Service:
    """A background process with a pid file."""

    name: str
    command: tuple[str, ...]
    probe: str
    env: dict[str, str] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        """The file of its output."""
        return LOG / f"{self.name}.log"

    def start(self) -> bool:
        """Start it in a process session of its own; false when it runs already."""
        if running_pid(self.name) is not None:
            return False
        with self.log.open("ab") as log:
            log_from = log.seek(0, os.SEEK_END)
            process = subprocess.Popen(
                [str(BIN / self.command[0]), *self.command[1:]],
                env=environment(self.env), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        known = {"pid": process.pid, "started": started(process.pid), "log_from": log_from}
        write_private(pid_file(self.name), json.dumps(known))
        return True

    def wait_ready(self) -> None:
        """Wait until the service has printed ``ready`` and its probe answers 200.

        The probe alone is not enough: another cluster's service may answer on that port. Raises
        ``ClusterError`` when the service ends or takes too long.
        """
        deadline = time.monotonic() + READY_S
        while (is_alive := running_pid(self.name) is not None) and time.monotonic() < deadline:
            if self.has_said_ready() and answers(self.probe):
                return
            time.sleep(0.05)
        what = "did not become ready" if is_alive else "ended"
        tail = self.logged().splitlines()[-SHOWN_LOG_LINES:]
        lines = "\n    ".join(tail or ["(nothing)"])
        raise ClusterError(f"{self.name} {what}; the end of {self.log}:\n    {lines}")

    def has_said_ready(self) -> bool:
        """Whether its line ``ready …`` is in the log."""
        return any(line.startswith("ready ") for line in self.logged().splitlines())

    def logged(self) -> str:
        """Its output since its last start."""
        try:
            log_from = int(remembered(self.name).get("log_from", 0))
            return self.log.read_bytes()[log_from:].decode(errors="replace")
        except OSError:
            return ""


def environment(decided: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """The environment of a service: the caller's without ``DECIDED_HERE``, and ``decided``.

    An empty variable of a provider is removed: ``OPENAI_API_KEY_FILE=`` would name no file.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(DECIDED_HERE) and (value or not name.startswith(PREFIXES))
    }
    return {**inherited, **decided}


def pid_file(name: str) -> Path:
    """The path of a service's pid file."""
    return RUN / f"{name}.json"


def started(pid: int) -> str | None:
    """When a process started (clock ticks since boot); None when there is none or it is dead."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def remembered(name: str) -> dict[str, Any]:
    """The content of a service's pid file; empty when there is none."""
    try:
        known: dict[str, Any] = json.loads(pid_file(name).read_text())
    except (OSError, ValueError):
        return {}
    return known


def running_pid(name: str) -> int | None:
    """The pid of a service that we started and that still runs."""
    known = remembered(name)
    if known.get("started") is None:
        return None
    pid = int(known["pid"])
    return pid if started(pid) == known["started"] else None


def stop(name: str) -> bool:
    """Send SIGTERM, and SIGKILL after ``STOP_S``; false when the service did not run."""
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
    """Whether an HTTP probe is answered with 200."""
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
