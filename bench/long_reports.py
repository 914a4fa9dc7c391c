"""Measures the write-ahead log while reports read a big ledger and usage comes.

``python -m bench.long_reports LEDGER --rate 500 --seconds 60``: a real accountd serves a copy of
the ledger (``bench.big_ledger``, its key in ``db.key`` beside it). One after the other, audits, and
statements of the account with the most rows, are asked for until the time is over. It prints how
long they took and the greatest length of the log.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Final

import click

from accountd.ctl.client import call
from bench.running_accountd import BIN, END_S, account_of

ACCOUNTS: Final = 10
EVERY_S: Final = 0.005
MIB: Final = 1024 * 1024


class Peak:
    """The greatest length of a file, looked at every few milliseconds by a thread."""

    def __init__(self, path: Path) -> None:
        self.bytes = 0
        self._path, self._is_over = path, threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def stop(self) -> int:
        """End the thread; what it has seen."""
        self._is_over.set()
        self._thread.join()
        return self.bytes

    def _look(self) -> None:
        while not self._is_over.wait(EVERY_S):
            if self._path.exists():
                self.bytes = max(self.bytes, self._path.stat().st_size)


def timed(rpc: str, method: str, **asked: str) -> float:
    """How many seconds an answer takes."""
    began = time.monotonic()
    call(rpc, method, asked)
    return time.monotonic() - began


@click.command()
@click.argument("ledger", type=click.Path(path_type=Path, exists=True))
@click.option("--rate", default=500.0, help="Batches a second.")
@click.option("--seconds", default=60.0)
def main(ledger: Path, rate: float, seconds: float) -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory(dir=ledger.parent) as folder:
        path = Path(folder) / "accounts.db"
        shutil.copy(ledger, path)
        endpoints = {
            f"ACCOUNTD_{name}_ENDPOINT": f"ipc://{folder}/{name.lower()}.sock"
            for name in ("USAGE", "RPC", "EVENTS")
        }
        key = {"DB_PATH": str(path), "DB_ENCRYPTION_KEY_FILE": str(ledger.parent / "db.key")}
        env = {**os.environ, **endpoints, **key}
        with subprocess.Popen([BIN / "accountd", "serve"], env=env, stdout=subprocess.PIPE) as one:
            assert one.stdout is not None
            assert one.stdout.readline().startswith(b"ready")
            try:
                ask_beside_usage(env, path, rate, seconds)
            finally:
                one.terminate()
                one.wait(END_S)


def ask_beside_usage(env: dict[str, str], path: Path, rate: float, seconds: float) -> None:
    """Ask for reports while usage comes."""
    rpc = env["ACCOUNTD_RPC_ENDPOINT"]
    click.echo(f"audit, without usage: {timed(rpc, 'audit'):.2f} s")
    peak = Peak(Path(f"{path}-wal"))
    load = [
        sys.executable, "-m", "bench.usage_load", "--usage", env["ACCOUNTD_USAGE_ENDPOINT"],
        "--events", env["ACCOUNTD_EVENTS_ENDPOINT"], "--batches", str(int(rate * seconds)),
        "--accounts", str(ACCOUNTS), "--producers", "5", "--rate", str(rate),
    ]  # fmt: skip
    took = defaultdict(list)
    with subprocess.Popen(load, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            took["audit"].append(timed(rpc, "audit"))
            for by in ("day", "session"):
                took[f"by {by}"].append(timed(rpc, "usage", account_id=account_of(0), by=by))
        assert process.stdout is not None
        click.echo(process.stdout.read().strip())
    for name, times in took.items():
        click.echo(f"{name}: {len(times)} times, {min(times):.2f} to {max(times):.2f} s")
    click.echo(f"greatest length of the log: {peak.stop() / MIB:.1f} MiB")


if __name__ == "__main__":
    main()
