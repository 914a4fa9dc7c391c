"""What is promised within a time is promised for a machine that lets its programs run."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.harness import Daemon

_STEAL = 8  # the column of /proc/stat (proc_stat(5)): time for which another machine had our cores
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@contextmanager
def within(seconds: float, *daemons: Daemon | None) -> Iterator[None]:
    """What is done inside takes less than so long.

    The time for which one of the daemons, or this process, was ready to run and had to wait for a
    core, or had one that the machine was not given, does not count: on a quiet machine that is
    none.
    """
    pids = [os.getpid(), *(daemon.process.pid for daemon in daemons if daemon is not None)]
    began, before = time.monotonic(), _waits_s(pids)
    yield
    took_s, after = time.monotonic() - began, _waits_s(pids)
    # Threads that have ended meanwhile are not known any more, and count as if they never waited.
    waited_s = sum(waited_s - before.get(name, 0.0) for name, waited_s in after.items())
    assert took_s - waited_s < seconds, f"took {took_s:.2f} s, {waited_s:.2f} s of it for a core"


def _waits_s(pids: list[int]) -> dict[str, float]:
    """How long each thread of the processes, and the machine, has waited: the kernel's count."""
    found = {"machine": int(Path("/proc/stat").read_text().split()[_STEAL]) / _TICKS_PER_S}
    for path in (path for pid in pids for path in Path(f"/proc/{pid}/task").glob("*/schedstat")):
        with suppress(OSError):  # a thread may end while we look
            found[str(path)] = int(path.read_text().split()[1]) / 1e9
    return found
