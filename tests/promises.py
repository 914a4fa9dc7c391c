"""What is promised within a time is promised for a machine that lets its programs run."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import Daemon


@contextmanager
def within(seconds: float, *daemons: Daemon | None) -> Iterator[None]:
    """What is done inside takes less than so long.

    The time for which one of the daemons, or this process, was ready to run and had to wait for a
    core does not count: on a quiet machine that is none.
    """
    pids = [os.getpid(), *(daemon.process.pid for daemon in daemons if daemon is not None)]
    began, waited_s = time.monotonic(), -_waited_s(pids)
    yield
    took_s = time.monotonic() - began
    waited_s += _waited_s(pids)
    assert took_s - waited_s < seconds, f"took {took_s:.2f} s, {waited_s:.2f} s of it for a core"


def _waited_s(pids: list[int]) -> float:
    """How long all threads of the processes have waited for a core: the kernel's own count."""
    files = (path for pid in pids for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))
    return sum(int(path.read_text().split()[1]) for path in files) / 1e9
