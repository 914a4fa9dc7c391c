#!/usr/bin/env python3
"""Stands in for systemctl where no systemd runs: starts, stops and kills the service accountd.

``systemctl start|stop accountd``, ``systemctl kill -s KILL accountd``; ``ACCOUNTD`` is its program.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

PID: Final = Path("accountd.pid")
LOG: Final = Path("accountd.log")
DEADLINE_S: Final = 40.0


def start() -> int:
    """Start the service, and wait until it is ready; 1 when it ends instead."""
    before = LOG.stat().st_size if LOG.exists() else 0
    with LOG.open("ab") as log:
        service = subprocess.Popen(
            [os.environ["ACCOUNTD"], "serve"], stdout=log, stderr=log, start_new_session=True
        )
    PID.write_text(str(service.pid))
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        printed = LOG.read_text()[before:]
        if "ready accountd" in printed:
            return 0
        if service.poll() is not None:
            sys.stderr.write(printed)
            return 1
        time.sleep(0.05)
    return 1


def end(number: int) -> int:
    """Send the signal, and wait until the service has ended."""
    pid = int(PID.read_text())
    os.kill(pid, number)
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if not _lives(pid):
            return 0
        time.sleep(0.05)
    return 1


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    verb = sys.argv[1]
    if verb == "start":
        sys.exit(start())
    sys.exit(end(signal.SIGKILL if verb == "kill" else signal.SIGTERM))
