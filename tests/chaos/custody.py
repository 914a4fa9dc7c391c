"""``python -m tests.chaos.custody [--points 50]``: ``restore`` and ``rekey``, cut off anywhere.

strace counts the system calls with which a command changes the disk, kills it before some of them,
and lets others fail (EIO, ENOSPC). After each the key file opens the database, which has what it
had, so does the journal, the error says what to do, and the next try works.
"""

import os
import random
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from accountd.data import database
from accountd.data.journal import Journal, StoredChanges
from accountd.maintenance import rekeying, restoring
from accountd.maintenance.custody import Custody
from accountd.maintenance.restoring import Asked
from accountd.maintenance.verifying import verify
from tests.support.backups import back_up, key_of
from tests.support.cut_offs import CutOffs
from tests.support.database import create_account
from tests.support.harness import BIN, Cluster, cluster_folder
from tests.support.killed import killed_at

CALLS: Final = ("pwrite64", "write", "fsync", "fdatasync", "rename", "unlink", "ftruncate")
FAULTS: Final = (
    ("pwrite64", "EIO"), ("pwrite64", "ENOSPC"), ("write", "EIO"), ("write", "ENOSPC"),
    ("fsync", "EIO"), ("fsync", "ENOSPC"), ("rename", "EIO"), ("rename", "ENOSPC"),
    ("unlink", "EIO"), ("rename", "EACCES"),
)  # fmt: skip
COMMANDS: Final = {
    "restore": ("restore", "backup.db"),
    "rekey": ("rekey", "--new-key-file", "new.key", "--replace-key-file"),
}
ACCOUNTS: Final = {"before", "since"}
EXIT_CODES: Final = (0, 74, 75, 78)
TIMEOUT_S: Final = 60.0
SHOWN_MAX: Final = 20
_OUTCOMES: Final = ("nothing was changed", "the new files are complete")


class Torment:
    """One command in copies of one folder: a killed daemon's database, and an older backup."""

    def __init__(self, cluster: Cluster, command: str, chance: random.Random) -> None:
        self._cluster, self._chance = cluster, chance
        self._template = Path(tempfile.mkdtemp(prefix="rts-custody-"))
        self._path = Path(cluster.env["DB_PATH"])
        self._journal = Path(f"{self._path}.journal")
        self._command = command
        self.report = CutOffs(command, "new")

    @property
    def _words(self) -> tuple[str, ...]:
        return COMMANDS[self._command]

    def run(self, points: int) -> CutOffs:
        """All of it."""
        try:
            self._prepare()
            counts = self._counts()
            for _ in range(points):
                call = self._chance.choices(list(counts), weights=list(counts.values()))[0]
                if self._chance.random() < 0.5:  # else nearly all would be writes of the copy
                    call = self._chance.choice(list(counts))
                number = self._chance.randint(1, counts[call])
                self._try(f"{call}:signal=SIGKILL:when={number}")
                self.report.kills += 1
            for call, error in FAULTS:
                if call not in counts:
                    continue
                number = self._chance.randint(1, counts[call])
                self._try(f"{call}:error={error}:when={number}")
                self.report.faults += 1
        finally:
            shutil.rmtree(self._template)
        return self.report

    def _prepare(self) -> None:
        key = key_of(self._cluster)
        with database.open_for_serving(self._path, key):
            create_account("before", tokens=5)
        back_up(self._cluster)

        def die_with_a_log() -> None:
            with database.open_for_serving(self._path, key) as opened:
                custody = Custody(opened.database.connection(), self._journal, key)
                custody.begin()
                create_account("since", tokens=7)
                custody.has_changed()
                custody.keep()
                os.kill(os.getpid(), 9)

        killed_at(-1, die_with_a_log)
        assert Path(f"{self._path}-wal").stat().st_size
        new_key = self._cluster.folder / "new.key"
        new_key.write_text("ef" * 32)
        new_key.chmod(0o600)
        for file in self._cluster.folder.glob("*.*"):
            shutil.copy2(file, self._template)

    def _reset(self) -> None:
        for file in self._cluster.folder.glob("*.*"):
            file.unlink()
        for file in self._template.iterdir():
            shutil.copy2(file, self._cluster.folder)

    def _counts(self) -> dict[str, int]:
        """How often the command makes each call."""
        self._reset()
        log = self._template.with_suffix(".strace")
        self._strace("-o", str(log), "-e", f"trace={','.join(CALLS)}")
        # Without what it prints at its end.
        found = re.findall(r"^\d+\s+(\w+)\((?!1,)", log.read_text(), re.MULTILINE)
        log.unlink()
        return {call: found.count(call) for call in CALLS if call in found}

    def _strace(self, *options: str) -> "subprocess.CompletedProcess[str]":
        command = ["strace", "-f", *options, str(BIN / "accountd"), *self._words]
        return subprocess.run(
            command, env=self._cluster.env, cwd=self._cluster.folder,
            capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip

    def _try(self, fault: str) -> None:
        """Cut the command off, and look at what is left."""
        self._reset()
        before = key_of(self._cluster)
        done = self._strace("-o", os.devnull, "-e", f"inject={fault}")
        if "error" in fault and done.returncode:
            self.report.told += 1
            self._look_at_error(fault, done)
        try:
            database.finish_interrupted(self._path)
            self._look(fault)
            self.report.done += self._is_new(before)
            self._again()
            self._look(f"{fault}, then again")
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is what is looked for
            self._problem(fault, repr(exc))

    def _look_at_error(self, fault: str, done: "subprocess.CompletedProcess[str]") -> None:
        lines = done.stderr.strip().splitlines()
        if done.returncode not in EXIT_CODES or len(lines) != 1:
            self._problem(fault, f"exit {done.returncode}: {done.stderr[-500:]}")
        elif not any(outcome in lines[0] for outcome in _OUTCOMES):
            self._problem(fault, f"does not say whether something was changed: {lines[0]}")

    def _is_new(self, before: str) -> bool:
        names = [path.name for path in self._cluster.folder.glob("accounts.db.replaced-*")]
        return bool(names) or key_of(self._cluster) != before

    def _look(self, fault: str) -> None:
        """The key file opens the database, all is there, and every page and balance is right."""
        key = key_of(self._cluster)
        with database.open_for_serving(self._path, key) as opened:
            found = {name for (name,) in opened.database.execute_sql("SELECT id FROM accounts")}
            changes = list(StoredChanges(opened.database.connection()).changes_after(0))
        journal = Journal.open(self._journal, key)
        is_complete = list(journal.changes_after(0)) == changes
        journal.close()
        problems = verify(self._path, key).problems
        if found != ACCOUNTS or problems or not is_complete:
            self._problem(
                fault, f"accounts {sorted(found)}, {problems}, journal complete: {is_complete}"
            )

    def _again(self) -> None:
        """The next try, without a fault."""
        key, journal = key_of(self._cluster), self._journal
        if self._command == "restore":
            backup = self._cluster.folder / "backup.db"
            restoring.restore(Asked(self._path, key, backup, key, journal), _tell)
        else:
            key_file = self._cluster.folder / "db.key"
            rekeying.rekey(
                self._path, key, secrets.token_hex(32), journal=journal, key_file=key_file,
                tell=_tell,
            )  # fmt: skip

    def _problem(self, fault: str, what: str) -> None:
        self.report.problems.append(f"{fault}: {what}")


def _tell(_what: str, _share: float | None) -> None:
    """Nobody looks."""


def torment(commands: Sequence[str], points: int, seed: int) -> list[CutOffs]:
    """The reports of each command."""
    reports = []
    for command in commands:
        with cluster_folder(is_measured=False) as cluster:
            reports.append(Torment(cluster, command, random.Random(seed)).run(points))
    return reports


@click.command()
@click.option("--points", default=50, show_default=True, help="Kills of each command.")
@click.option("--seed", type=int, help="Repeats the places of a run.")
def main(*, points: int, seed: int | None) -> None:
    """Cut off accountd restore and rekey at random places."""
    seed = secrets.randbits(32) if seed is None else seed
    click.echo(f"seed {seed}")
    reports = torment(list(COMMANDS), points, seed)
    for report in reports:
        click.echo(report.line())
        for problem in report.problems[:SHOWN_MAX]:
            click.echo(f"  {problem}")
    sys.exit(1 if any(report.problems for report in reports) else 0)


if __name__ == "__main__":
    main()
