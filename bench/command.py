"""Measures how long a command of accountctl takes, beside Python that imports what it needs.

Run it from the root of the project: ``.venv/bin/python -m bench.command``. Both are processes of
their own, in turns; the CPU that the kernel has counted is compared, and the time by the clock.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from bench.report import Outcome, Scale, Table, at_most
from bench.running_accountd import BIN, account_of, accountd
from bench.scenarios import end_with

RATIO_MAX = 1.5
Timings = list[tuple[float, float]]
IMPORTS = (sys.executable, "-c", "import click, msgpack, zmq")


def timed(command: tuple[str, ...], env: Mapping[str, str]) -> tuple[float, float]:
    """The CPU and the time of a process, in ms."""
    started = time.perf_counter()
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    elapsed = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return (used.ru_utime + used.ru_stime) * 1000, elapsed * 1000


def measure(scale: Scale) -> Outcome:
    """Measure a command."""
    rounds = scale.pick(25, quick=1)
    show = (str(BIN / "accountctl"), "account", "show", account_of(0))
    shown: Timings = []
    imported: Timings = []
    with (
        tempfile.TemporaryDirectory(prefix="rts-") as name,
        accountd(Path(name), accounts=1) as (env, _),
    ):
        for _ in range(rounds):
            shown.append(timed(show, env))
            imported.append(timed(IMPORTS, env))
    rows = tuple(
        (what, *(statistics.median(one) for one in zip(*taken, strict=True)))
        for what, taken in (
            ("accountctl account show", shown),
            ("python importing click, msgpack and zmq", imported),
        )
    )
    return Outcome(
        tables=(Table("A command, medians", ("process", "CPU, ms", "time, ms"), rows),),
        bars=tuple(
            at_most(f"{what} of accountctl / imports", ratio(shown, imported, which), RATIO_MAX)
            for which, what in enumerate(("CPU", "time"))
        ),
    )


def ratio(shown: Timings, imported: Timings, which: int) -> float:
    """The median over the rounds, of which each had both."""
    return statistics.median(a[which] / b[which] for a, b in zip(shown, imported, strict=True))


if __name__ == "__main__":
    end_with(measure(Scale(is_quick=False, tell=print)))
