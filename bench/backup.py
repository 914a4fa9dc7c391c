"""Measures how long usage takes to be durable while a backup of a large database is made.

Run it from the root of the project: ``.venv/bin/python -m bench.backup``. A real accountd with a
database of 500 MB (``bench.big_ledger``) gets usage at a steady rate, in turns without a backup and
while ``accountctl backup`` makes one after the other. ``--all-ways`` of the module also measures
what the driver offers: the online backup API, ``VACUUM INTO`` and ``sqlcipher_export``, each by a
process of its own beside the daemon, and without a proof of what came out.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

from bench import big_ledger
from bench.report import Outcome, Scale, Table, at_most
from bench.running_accountd import BIN, END_S, environment_of
from bench.scenarios import end_with

RATIO_MAX: Final = 2.0
RATE: Final = 500  # batches a second: 2,500 responses
NOTHING: Final = "no backup"
OURS: Final = "accountctl backup"
DRIVER: Final = {
    "online backup API, 1,000 pages at a time": "copy=connect(to); c.backup(copy, pages=1000)",
    "online backup API, all pages at once": "copy=connect(to); c.backup(copy)",
    "VACUUM INTO": "c.execute(f\"VACUUM INTO '{to}'\")",
    "sqlcipher_export": (
        "c.execute(f\"ATTACH '{to}' AS copy KEY '{key}'\");"
        " c.execute(\"SELECT sqlcipher_export('copy')\").fetchone()"
    ),
}
_PROGRAM: Final = """
import sys
from sqlcipher3 import dbapi2 as sqlcipher
path, key, to = sys.argv[1], f"x'{open(sys.argv[2]).read().strip()}'", sys.argv[3]
def connect(name):
    c = sqlcipher.connect(name, isolation_level=None)
    c.execute(f'PRAGMA key = "{key}"')
    return c
c = connect(path)
key = key.replace("'", "''")
"""


def measure(scale: Scale, ways: tuple[str, ...] = (OURS,)) -> Outcome:
    """Measure each of ``ways``, and before each of its rounds how it is without a backup."""
    rounds, seconds = scale.pick((3, 20), quick=(1, 2))
    with tempfile.TemporaryDirectory(prefix="rts-") as name:
        folder = Path(name)
        path, key = folder / "accounts.db", os.urandom(32).hex()
        (folder / "db.key").touch(0o600)
        (folder / "db.key").write_text(key)
        big_ledger.build(
            path, key, megabytes=scale.pick(500, quick=2), accounts=scale.pick(2_000, quick=200),
            schema=None,
        )  # fmt: skip
        env = environment_of(folder)
        rows, ratios = [], []
        with subprocess.Popen(
            [BIN / "accountd", "serve"], env=env, stdout=subprocess.PIPE
        ) as daemon:
            assert daemon.stdout is not None
            assert daemon.stdout.readline().startswith(b"ready")
            try:
                for way in ways:
                    found = [
                        _round(env, folder, way, seconds, scale)
                        for _ in range(rounds if way == OURS else 1)
                    ]
                    without, during, took = zip(*found, strict=True)
                    for what, latencies in ((NOTHING, without), (way, during)):
                        figures = [statistics.median(one) for one in zip(*latencies, strict=True)]
                        rows.append((what, *figures, _seconds(took) if what == way else None))
                    ratios.append(rows[-1][2] / rows[-2][2])
            finally:
                daemon.terminate()
                daemon.wait(END_S)
    columns = ("while", "p50, ms", "p99, ms", "longest, ms", "one takes, s")
    return Outcome(
        tables=(Table("From sending usage to its watermark", columns, tuple(rows)),),
        bars=(at_most("p99 with a backup / without", ratios[0], RATIO_MAX),),
    )


def _seconds(took: tuple[list[float], ...]) -> float:
    return statistics.median(one for some in took for one in some)


def _round(
    env: Mapping[str, str], folder: Path, way: str, seconds: int, scale: Scale
) -> tuple[list[float], list[float], list[float]]:
    without, _ = _loaded(env, folder, NOTHING, seconds)
    during, took = _loaded(env, folder, way, seconds)
    scale.tell(f"p99 {without[1]:.1f} ms without, {during[1]:.1f} ms during {way}")
    return without, during, took


def _loaded(
    env: Mapping[str, str], folder: Path, way: str, seconds: int
) -> tuple[list[float], list[float]]:
    """The p50, the p99 and the longest latency, and how long each backup took."""
    load = [
        sys.executable, "-m", "bench.usage_load", "--usage", env["ACCOUNTD_USAGE_ENDPOINT"],
        "--events", env["ACCOUNTD_EVENTS_ENDPOINT"], "--rate", str(RATE),
        "--batches", str(RATE * seconds), "--producers", "5",
    ]  # fmt: skip
    took = []
    with subprocess.Popen(load, stdout=subprocess.PIPE, text=True) as process:
        while way != NOTHING and process.poll() is None:
            started = time.monotonic()
            _backup(env, folder, way)
            took.append(time.monotonic() - started)
        out, _ = process.communicate()
    return json.loads(out)["latency_ms"], took


def _backup(env: Mapping[str, str], folder: Path, way: str) -> None:
    copy = folder / "copy.db"
    command: list[str | Path] = [BIN / "accountctl", "backup", copy]
    if way != OURS:
        program = _PROGRAM + DRIVER[way]
        command = [sys.executable, "-c", program, env["DB_PATH"], str(folder / "db.key"), str(copy)]
    subprocess.run(command, env=dict(env), check=True, capture_output=True)
    for path in folder.glob("copy.db*"):
        path.unlink()


@click.command()
@click.option("--all-ways", is_flag=True, help="Also what the driver offers.")
def main(*, all_ways: bool) -> None:
    """Print the figures."""
    ways = (OURS, *DRIVER) if all_ways else (OURS,)
    end_with(measure(Scale(is_quick=False, tell=lambda line: click.echo(line, err=True)), ways))


if __name__ == "__main__":
    main()
