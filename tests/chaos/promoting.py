"""``python -m tests.chaos.promoting [--points 50]``: ``promote``, cut off anywhere.

As ``tests.chaos.custody`` does it. After each cut the next try makes the standby the primary, which
has all that was committed, and the old primary is not served any more.
"""

import os
import random
import secrets
import shutil
import subprocess
import sys

import click

from accountd.data import database
from accountd.maintenance.verifying import verify
from shared.errors import OperatorError
from tests.chaos import custody
from tests.support.backups import key_of
from tests.support.harness import BIN, cluster_folder
from tests.support.standby import Standby

AGAIN = "was promoted before"


class Promotions(custody.Torment):
    """Promotions of one standby, whose primary and whose follower were killed."""

    @property
    def _words(self) -> tuple[str, ...]:
        return ("promote", "standby.db")

    def _prepare(self) -> None:
        cluster, standby = self._cluster, Standby(self._cluster, self._standby)
        primary = cluster.start_accountd()
        cluster.create_account("before")
        follower = standby.start()
        cluster.create_account("since")
        standby.catch_up()
        primary.stop(9)
        follower.stop(9)
        for file in cluster.folder.glob("*.*"):
            if file.is_file():
                shutil.copy2(file, self._template)

    @property
    def _standby(self) -> "os.PathLike[str]":
        return self._cluster.folder / "standby.db"

    def _try(self, fault: str) -> None:
        self._reset()
        done = self._strace("-o", os.devnull, "-e", f"inject={fault}")
        if "error" in fault and done.returncode:
            self.report.told += 1
            if done.returncode not in custody.EXIT_CODES or "Traceback" in done.stderr:
                self._problem(fault, f"exit {done.returncode}: {done.stderr[-500:]}")
        try:
            again = self._promoted()
            self.report.done += AGAIN in again.stderr
            if again.returncode and AGAIN not in again.stderr:
                self._problem(fault, f"then again, exit {again.returncode}: {again.stderr}")
            self._look(fault)
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is what is looked for
            self._problem(fault, repr(exc))

    def _promoted(self) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [BIN / "accountd", *self._words], env=self._cluster.env, cwd=self._cluster.folder,
            capture_output=True, text=True, timeout=custody.TIMEOUT_S, check=False,
        )  # fmt: skip

    def _look(self, fault: str) -> None:
        path, key = self._cluster.folder / "standby.db", key_of(self._cluster)
        with database.open_for_serving(path, key) as opened:
            found = {name for (name,) in opened.database.execute_sql("SELECT id FROM accounts")}
        problems = verify(path, key).problems
        if found != custody.ACCOUNTS or problems:
            self._problem(fault, f"accounts {sorted(found)}, {problems}")
        try:
            with database.open_for_serving(self._path, key):
                self._problem(fault, "the old primary is served")
        except OperatorError as exc:
            if "superseded" not in str(exc):
                raise


@click.command()
@click.option("--points", default=50, show_default=True, help="Kills.")
@click.option("--seed", type=int, help="Repeats the places of a run.")
def main(*, points: int, seed: int | None) -> None:
    """Cut off accountd promote at random places."""
    seed = secrets.randbits(32) if seed is None else seed
    click.echo(f"seed {seed}")
    with cluster_folder(is_measured=False) as cluster:
        report = Promotions(cluster, "promote", random.Random(seed)).run(points)
    click.echo(report.line())
    for problem in report.problems[: custody.SHOWN_MAX]:
        click.echo(f"  {problem}")
    sys.exit(1 if report.problems else 0)


if __name__ == "__main__":
    main()
