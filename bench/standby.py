"""Measures a standby: what following costs the primary, how far it is behind, and a promotion.

Run it from the root of the project: ``.venv/bin/python -m bench.standby``. A ledger of 500 MB
(``bench.big_ledger``) gets 500 batches a second, each a commit of its own, in turns without a
follower and with one. Then accountd is killed under load, the standby is promoted and served: the
clock runs from the start of ``accountd promote`` to accountd's line ``ready`` on the standby.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from accountd.ctl.client import call
from bench import big_ledger
from bench.machine import cpu_us
from bench.report import Check, Outcome, Scale, Table, at_most
from bench.running_accountd import BIN, END_S, environment_of, serving
from bench.scenarios import end_with

RATE: Final = 500
LAG_S_MAX: Final = 1.0
PROMOTION_S_MAX: Final = 10.0
WAL_MB_MAX: Final = 64.0
ACCOUNTS: Final = 2_000


@dataclass(frozen=True, slots=True)
class Load:
    """What a turn has shown; times in ms."""

    latency_ms: tuple[float, float, float]
    wal_mb: float
    cpu_share: float
    follower_cpu_share: float


class Follower:
    """``accountd follow`` into a file of the folder."""

    def __init__(self, env: Mapping[str, str], folder: Path) -> None:
        self.path = folder / "standby.db"
        started = time.perf_counter()
        self.process = subprocess.Popen(
            [BIN / "accountd", "follow", env["DB_PATH"], self.path],
            env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.readline().startswith(b"ready")
        self.ready_s = time.perf_counter() - started

    @property
    def status(self) -> dict[str, Any]:
        """What it wrote last."""
        found: dict[str, Any] = json.loads(Path(f"{self.path}.standby-status").read_text())
        return found

    def cpu_us(self) -> float:
        """The CPU of both its processes."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return cpu_us(pid) + sum(cpu_us(int(child)) for child in children)

    def end(self) -> None:
        """SIGTERM."""
        self.process.terminate()
        self.process.wait(END_S)


def measure(scale: Scale) -> Outcome:
    """Follow, load, kill, promote."""
    seconds, rounds = scale.pick((20, 3), quick=(1, 1))
    with tempfile.TemporaryDirectory(prefix="rts-") as name:
        folder = Path(name)
        path, key = folder / "accounts.db", os.urandom(32).hex()
        (folder / "db.key").touch(0o600)
        (folder / "db.key").write_text(key)
        accounts = scale.pick(ACCOUNTS, quick=20)
        built = big_ledger.build(
            path, key, megabytes=scale.pick(500, quick=2), accounts=accounts, schema=None
        )
        env = environment_of(folder)
        alone, followed, copies = [], [], []
        with serving(env) as daemon:
            for number in range(rounds):
                alone.append(_load(env, daemon.pid, seconds, None))
                with _load_beside(env, 3) as load:  # the copy is made while usage comes
                    follower = Follower(env, folder)
                    load.wait()
                copies.append(follower.ready_s)
                followed.append(_load(env, daemon.pid, seconds, follower))
                lag_s = follower.status["lag_s_max"]
                scale.tell(f"round {number + 1}: {alone[-1]} {followed[-1]} lag {lag_s:.3f} s")
                if number < rounds - 1:
                    follower.end()
            with _load_beside(env, 4):
                time.sleep(1.5)
                daemon.kill()
                daemon.wait()
        promotion = _promote(env, follower)
        audit = _audit_of(env, follower)
    return Outcome(
        tables=(_table(alone, followed), _times(copies, lag_s, promotion)),
        bars=(
            at_most("longest lag, s", lag_s, LAG_S_MAX),
            at_most("promote and serve, s", promotion["served_s"], PROMOTION_S_MAX),
            at_most("largest log, MB", max(load.wal_mb for load in followed), WAL_MB_MAX),
        ),
        checks=(
            Check("usage rows", audit["usage_rows"] >= built.rows + 2 * rounds * seconds * RATE, 1),
            Check("right balances", audit["accounts"] - audit["drift_total"], audit["accounts"]),
        ),
    )


def _command(env: Mapping[str, str], seconds: int) -> list[str]:
    return [
        sys.executable, "-m", "bench.usage_load", "--batches", str(RATE * seconds),
        "--usage", env["ACCOUNTD_USAGE_ENDPOINT"], "--events", env["ACCOUNTD_EVENTS_ENDPOINT"],
        "--accounts", "20", "--rate", str(RATE),
    ]  # fmt: skip


@contextmanager
def _load_beside(env: Mapping[str, str], seconds: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Usage while something else happens; it may be cut off."""
    with subprocess.Popen(
        _command(env, seconds), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _load(env: Mapping[str, str], pid: int, seconds: int, follower: Follower | None) -> Load:
    """Usage at ``RATE``; the length of the log is looked at twenty times a second."""
    before, started = cpu_us(pid), time.perf_counter()
    follower_before = follower.cpu_us() if follower else 0.0
    wal, longest = Path(env["DB_PATH"] + "-wal"), 0
    with subprocess.Popen(_command(env, seconds), stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            longest = max(longest, wal.stat().st_size)
            time.sleep(0.05)
        assert process.stdout is not None
        found = json.loads(process.stdout.read().splitlines()[-1])
    took_us = (time.perf_counter() - started) * 1e6
    beside = follower.cpu_us() - follower_before if follower else 0.0
    p50, p99, largest = found["latency_ms"]
    return Load((p50, p99, largest), longest / 1e6, (cpu_us(pid) - before) / took_us,
                beside / took_us)  # fmt: skip


def _promote(env: Mapping[str, str], follower: Follower) -> dict[str, float]:
    started = time.perf_counter()
    done = subprocess.run(
        [BIN / "accountd", "promote", follower.path, "--json"],
        env=env, check=True, capture_output=True,
    )  # fmt: skip
    promoted_s = time.perf_counter() - started
    with serving({**env, "DB_PATH": str(follower.path)}):
        served_s = time.perf_counter() - started
    follower.process.wait(END_S)
    said = json.loads(done.stdout)
    return {"promoted_s": promoted_s, "served_s": served_s, "lag_s": said["last_lag_s"]}


def _audit_of(env: Mapping[str, str], follower: Follower) -> dict[str, Any]:
    with serving({**env, "DB_PATH": str(follower.path)}):
        found: dict[str, Any] = call(env["ACCOUNTD_RPC_ENDPOINT"], "audit", {})
        return found


def _table(alone: list[Load], followed: list[Load]) -> Table:
    def row(name: str, loads: list[Load]) -> tuple[str | float, ...]:
        columns = zip(*(load.latency_ms for load in loads), strict=True)
        return (
            name, *(statistics.median(column) for column in columns),
            max(load.wal_mb for load in loads),
            statistics.median(load.cpu_share for load in loads) * 100,
            statistics.median(load.follower_cpu_share for load in loads) * 100,
        )  # fmt: skip

    columns = (
        "accountd", "durable p50, ms", "p99, ms", "largest, ms", "log at most, MB",
        "CPU of accountd, %", "of the follower, %",
    )  # fmt: skip
    return Table(
        f"{RATE} commits a second, from sending to durable",
        columns,
        (row("alone", alone), row("followed", followed)),
    )


def _times(copies: list[float], lag_s: float, promotion: Mapping[str, float]) -> Table:
    return Table(
        "The standby",
        ("what", "s"),
        (
            ("a first copy, under load", copies[0]),
            ("copies of what differs, under load, median", statistics.median(copies[1:] or [0.0])),
            ("longest lag under load", lag_s),
            ("promote", promotion["promoted_s"]),
            ("promote and serve, to the line ready", promotion["served_s"]),
        ),
    )


if __name__ == "__main__":
    end_with(measure(Scale(is_quick=False, tell=print)))
