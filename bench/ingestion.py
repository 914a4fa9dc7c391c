"""Measures how fast accountd makes usage durable, beside what its file gives, and how that grows.

Run it from the root of the project: ``.venv/bin/python -m bench.ingestion``. A real accountd gets
batches of five responses from a process of its own (``bench.usage_load``). The rate of the file is
that of the same rows, written by nothing but sqlcipher3 (``bench.file_rate``), in turns with
accountd. One database grows to ten million batches; in that one are measured how long a batch of a
thousand a second takes to be durable, and authorizations beside half of what accountd can do.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click
import zmq

from accountd.ctl.client import call
from bench.file_rate import rows_a_second
from bench.fsyncs import fsyncs_ms
from bench.machine import cpu_us
from bench.never_block import quantile
from bench.report import Check, Curve, Outcome, Scale, Table, at_least, at_most
from bench.running_accountd import account_of, accountd
from bench.scenarios import end_with
from bench.usage_load import SHARES
from shared import zmq_sockets
from shared.requests import Request, decode_reply, encode_request

# accounts, producers
SIZES: Final = ((200, 1), (10_000, 50), (100_000, 50))
LARGE: Final = (10_000, 50)
SHARE_MIN: Final = 0.5  # of the file's rate
BYTES_MAX: Final = 300
BEND_MAX: Final = 0.15
RATE: Final = 1_000.0  # batches a second, of the latency
DURABLE_MS_MAX: Final = 20.0
AUTHORIZED_MS_MAX: Final = 10.0
PAUSE_S: Final = 0.005  # between two authorizations


class Running:
    """One accountd, and the usage that was sent to it."""

    def __init__(self, folder: Path, env: Mapping[str, str], pid: int, accounts: int) -> None:
        self._folder, self._env, self._pid = folder, env, pid
        self._accounts = accounts
        self.sent = 0
        self.checks: list[Check] = []

    def load(self, batches: int, producers: int, *, rate: float | None = None) -> dict[str, Any]:
        """Send usage until it is durable: what ``usage_load`` says, and accountd's CPU."""
        before = cpu_us(self._pid)
        with self.start(batches, producers, rate=rate) as process:
            found = finished(process)
        self.sent += batches
        return {**found, "cpu_us": (cpu_us(self._pid) - before) / batches}

    def start(
        self, batches: int, producers: int, *, rate: float | None = None
    ) -> "subprocess.Popen[str]":
        """Start to send usage."""
        command = [
            sys.executable, "-m", "bench.usage_load",
            "--usage", self._env["ACCOUNTD_USAGE_ENDPOINT"],
            "--events", self._env["ACCOUNTD_EVENTS_ENDPOINT"],
            "--batches", str(batches), "--accounts", str(self._accounts),
            "--producers", str(producers), *([] if rate is None else ["--rate", str(rate)]),
        ]  # fmt: skip
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def file_bytes(self) -> int:
        """The length of the database and of its write-ahead log."""
        return sum(path.stat().st_size for path in self._folder.glob("accounts.db*"))

    def fsyncs_ms(self, seconds: float) -> list[float]:
        """How long the disk under the database takes for a commit's bytes, at ``RATE``."""
        return fsyncs_ms(self._folder, rate=RATE, seconds=seconds)

    def authorizations_ms(self, key: str, process: "subprocess.Popen[str]") -> list[float]:
        """How long each authorization took while ``process`` runs, one after the other."""
        found = []
        with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
            zmq_sockets.configure(socket)
            socket.connect(self._env["ACCOUNTD_RPC_ENDPOINT"])
            question = encode_request(Request("authorize", {"key_hash": key}))
            while process.poll() is None:
                started = time.perf_counter()
                socket.send_multipart([b"bench", question])
                assert socket.poll(60_000), "no answer"
                answer = decode_reply(socket.recv_multipart()[-1])
                found.append((time.perf_counter() - started) * 1000)
                assert answer.error is None, answer.error
                time.sleep(PAUSE_S)
        return found

    def call(self, method: str, params: Mapping[str, Any]) -> Any:
        """The answer to a request."""
        return call(self._env["ACCOUNTD_RPC_ENDPOINT"], method, params)


def finished(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """What ``usage_load`` has found."""
    told, _ = process.communicate()
    assert process.returncode == 0, told
    found: dict[str, Any] = json.loads(told)
    return found


def beside_the_file(scale: Scale) -> Outcome:
    """The rates of accountd with an empty database, in turns with the file's."""
    batches, rounds = scale.pick(100_000, quick=500), scale.pick(5, quick=1)
    rows, bars, checks = [], [], []
    for accounts, producers in scale.pick(SIZES, quick=((20, 2),)):
        taken: dict[str, list[float]] = {"rate": [], "file": [], "cpu": [], "share": []}
        with tempfile.TemporaryDirectory(prefix="rts-") as name:
            folder = Path(name)
            with accountd(folder, accounts) as (env, pid):
                running = Running(folder, env, pid, accounts)
                empty = running.file_bytes()
                for number in range(rounds):
                    found = running.load(batches, producers)
                    taken["rate"].append(batches / found["seconds"])
                    taken["cpu"].append(found["cpu_us"])
                    taken["file"].append(rows_a_second(folder, batches))
                    taken["share"].append(taken["rate"][-1] / taken["file"][-1])
                    scale.tell(
                        f"{accounts:,} accounts, round {number + 1}: {taken['rate'][-1]:,.0f}/s,"
                        f" the file {taken['file'][-1]:,.0f}/s"
                    )
                each = (running.file_bytes() - empty) / running.sent
                audit = running.call("audit", {})
                checks.append(
                    Check(f"rows, {accounts:,} accounts", audit["usage_rows"], running.sent)
                )
                right = accounts - audit["drift_total"]
                checks.append(Check(f"balances that add up, {accounts:,}", right, accounts))
        middle = {what: statistics.median(values) for what, values in taken.items()}
        rows.append(
            (
                accounts,
                producers,
                middle["rate"],
                middle["file"],
                middle["share"],
                middle["cpu"],
                each,
            )
        )
        bars.append(
            at_least(f"share of the file's rate, {accounts:,} accounts", middle["share"], SHARE_MIN)
        )
        bars.append(at_most(f"database bytes a batch, {accounts:,} accounts", each, BYTES_MAX))
    columns = (
        "accounts", "producers", "batches/s", "the file, rows/s", "share", "CPU of a batch, µs",
        "bytes of a batch",
    )  # fmt: skip
    title = "Durable batches a second, with an empty database"
    return Outcome((Table(title, columns, tuple(rows)),), bars=tuple(bars), checks=tuple(checks))


def growth(scale: Scale) -> Outcome:
    """One database that grows, and what it can do when it is large."""
    accounts, producers = scale.pick(LARGE, quick=(20, 2))
    step, steps = scale.pick((250_000, 40), quick=(500, 2))
    rates, cpu = [], []
    with tempfile.TemporaryDirectory(prefix="rts-") as name:
        folder = Path(name)
        with accountd(folder, accounts) as (env, pid):
            running = Running(folder, env, pid, accounts)
            for number in range(1, steps + 1):
                found = running.load(step, producers)
                rates.append((number * step / 1e6, step / found["seconds"]))
                cpu.append((number * step / 1e6, found["cpu_us"]))
                scale.tell(
                    f"{number * step:,} batches: {rates[-1][1]:,.0f}/s,"
                    f" {found['cpu_us']:.1f} µs of CPU each"
                )
            large = _when_large(running, producers, rate=rates[-1][1] / 2, scale=scale)
    quarter = max(1, len(cpu) // 4)
    first, last = (
        statistics.median(value for _, value in some) for some in (cpu[:quarter], cpu[-quarter:])
    )
    x_label = "million batches"
    return Outcome(
        tables=large.tables,
        curves=(
            Curve("Durable batches by size of the database", x_label, "a second",
                  {"accountd": rates}),
            Curve("CPU of a batch by size of the database", x_label, "µs", {"accountd": cpu}),
        ),
        bars=(
            at_most("CPU of a batch, last quarter to first, less 1", last / first - 1, BEND_MAX),
            *large.bars,
        ),
        checks=large.checks,
    )  # fmt: skip


def _when_large(running: Running, producers: int, *, rate: float, scale: Scale) -> Outcome:
    """How long usage and authorizations take; these while ``rate`` batches a second come."""
    seconds = scale.pick(20, quick=1)
    disk = running.fsyncs_ms(seconds / 4)
    paced = running.load(int(RATE * seconds), producers, rate=RATE)
    disk += running.fsyncs_ms(seconds / 4)
    key = running.call("key.create", {"account_id": account_of(0), "label": "bench"})["key_hash"]
    count = int(rate * seconds)
    with running.start(count, producers, rate=rate) as process:
        asked = running.authorizations_ms(key, process)
        finished(process)
    running.sent += count
    bytes_each = running.file_bytes() / running.sent
    started = time.perf_counter()
    audit = running.call("audit", {})
    audit_s = time.perf_counter() - started
    durable = paced["latency_ms"]
    table = Table(
        f"With {running.sent:,} batches in the database",
        ("what", "p50", "p99", "largest"),
        (
            (f"from sending to durable at {RATE:,.0f} batches/s, ms",
             *durable),
            (f"fsync of a commit's bytes by itself, {RATE:,.0f}/s, before and after, ms",
             *(quantile(disk, share) for share in SHARES)),
            (f"authorization at {rate:,.0f} batches/s, ms",
             *(quantile(asked, share) for share in SHARES)),
            ("the audit, s", audit_s, None, None),
            ("database bytes a batch", bytes_each, None, None),
        ),
    )  # fmt: skip
    return Outcome(
        tables=(table,),
        bars=(
            at_most("durable at 1,000/s, p99, ms", durable[1], DURABLE_MS_MAX),
            at_most("authorization, p99, ms", quantile(asked, 0.99), AUTHORIZED_MS_MAX),
        ),
        checks=(
            Check("rows in the large database", audit["usage_rows"], running.sent),
            Check(
                "balances that add up there",
                audit["accounts"] - audit["drift_total"],
                audit["accounts"],
            ),
        ),
    )


def measure(scale: Scale) -> Outcome:
    """Ingestion."""
    one, two = beside_the_file(scale), growth(scale)
    return Outcome(
        one.tables + two.tables, one.curves + two.curves, one.bars + two.bars,
        one.checks + two.checks,
    )  # fmt: skip


@click.command()
@click.option("--quick", is_flag=True)
@click.option("--part", type=click.Choice(["all", "file", "growth"]), default="all")
def main(part: str, *, quick: bool) -> None:
    """Measure ingestion."""
    scale = Scale(quick, tell=lambda line: click.echo(line, err=True))
    parts = {"all": measure, "file": beside_the_file, "growth": growth}
    end_with(parts[part](scale))


if __name__ == "__main__":
    main()
