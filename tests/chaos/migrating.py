"""``python -m tests.chaos.migrating``: ``accountd migrate`` is killed, and its disk fails.

A ledger of schema 13, all of whose rows the next migration moves, is migrated; SIGKILL comes at a
random instant of that, perhaps twice, or the kernel answers a system call with an error. The next
try must succeed, with every row and a right audit, and the copy from before must be whole.
"""

import os
import random
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import click

from accountd.data import database
from accountd.reports.audit import audit
from accountd.request_params import Params
from bench import big_ledger
from tests.support.harness import BIN

STRACE: Final = shutil.which("strace")
SCHEMA: Final = 13
MEGABYTES: Final = 20
TRY_S: Final = 120
# The system calls of the copy and of the migrations, and when they fail; what is found on the way.
FAULTS: Final = (
    "pwrite64:error=EIO:when=1+", "pwrite64:error=EIO:when=40+", "pwrite64:error=EIO:when=2000+",
    "pwrite64:error=EIO:when=7000", "pwrite64:error=ENOSPC:when=3000+",
    "sendfile:error=ENOSPC:when=1+", "fsync,fdatasync:error=EIO:when=1",
    "fsync,fdatasync:error=EIO:when=3+", "rename:error=EIO:when=1+", "ftruncate:error=EIO:when=1+",
)  # fmt: skip
_ROWS: Final = (
    "SELECT count(*), sum(id), sum(total_tokens), sum(responses), sum(topup_deducted),"
    " sum(token_deducted), count(DISTINCT session_id) FROM usage_metrics"
)


@dataclass
class Found:
    """What became of all tries."""

    killed: int = 0
    ended_before: int = 0  # the kill came too late
    failed: dict[str, int] = field(default_factory=dict)  # exit code of each fault
    copies: int = 0
    problems: list[str] = field(default_factory=list)


class Trial:
    """One ledger in a folder of its own, as ``template`` has it."""

    def __init__(self, template: Path, folder: Path, key: str) -> None:
        self.path, self._key = folder / "accounts.db", key
        shutil.copy(template, self.path)
        (folder / "db.key").touch(0o600)
        (folder / "db.key").write_text(key)
        self.env = {
            "PATH": os.environ["PATH"], "DB_PATH": str(self.path),
            "DB_ENCRYPTION_KEY_FILE": str(folder / "db.key"),
        }  # fmt: skip

    def start(self, *before: str) -> "subprocess.Popen[str]":
        """Begin to migrate, perhaps under another program."""
        return subprocess.Popen(
            [*before, str(BIN / "accountd"), "migrate"], env=self.env, text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def kill_after(self, seconds: float) -> bool:
        """Whether it was killed: it may have ended before."""
        with self.start() as process:
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)  # with the process that copies
                process.wait()
            return process.returncode == -9

    def finish(self) -> list[str]:
        """Migrate to the end: what is wrong then."""
        with self.start() as process:
            _, told = process.communicate(timeout=TRY_S)
        if process.returncode:
            return [f"the next try exits {process.returncode}: {told}"]
        return []

    def rows(self, path: Path, *, is_audited: bool) -> tuple[Any, list[str]]:
        """The sums of the rows, and what is wrong with the database."""
        with database.open_for_migrating(path, self._key) as opened:
            execute = opened.database.execute_sql
            problems = [] if not is_audited or audit(Params({}))["ok"] else ["audit"]
            if execute("PRAGMA cipher_integrity_check").fetchall():
                problems.append("cipher_integrity_check")
            if execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
                problems.append("integrity_check")
            return execute(_ROWS).fetchone(), problems

    def copies(self) -> list[Path]:
        """The whole copies from before a migration."""
        return sorted(self.path.parent.glob("accounts.db.before-????"))


class Chaos:
    """All trials on copies of one ledger."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._folder, self._say = folder, say
        self._key = secrets.token_hex(32)
        self._template = folder / "template.db"
        big_ledger.build(self._template, self._key, megabytes=MEGABYTES, accounts=50, schema=SCHEMA)
        self.found = Found()
        trial = self._trial()
        began = time.monotonic()
        assert trial.finish() == []
        self._seconds = time.monotonic() - began
        self._expected, problems = trial.rows(trial.path, is_audited=True)
        assert problems == []
        say(f"undisturbed: {self._seconds:.1f} s, {self._expected[0]:,} rows")

    def kill(self, chance: random.Random) -> None:
        """Kill at an instant, perhaps again at another, then migrate to the end."""
        trial = self._trial()
        for _ in range(chance.choice((1, 1, 2))):
            if trial.kill_after(chance.uniform(0, self._seconds)):
                self.found.killed += 1
            else:
                self.found.ended_before += 1
        self._judge(trial, "killed")

    def fail(self, fault: str) -> None:
        """Let system calls fail, then migrate to the end."""
        assert STRACE is not None
        trial = self._trial()
        calls = fault.split(":", maxsplit=1)[0]
        with trial.start(
            STRACE, "-f", "-qq", "-o", os.devnull, "-e", f"trace={calls}", "-e", f"inject={fault}"
        ) as process:
            _, told = process.communicate(timeout=TRY_S)
        self.found.failed[fault] = process.returncode
        self._say(f"{fault}: exit {process.returncode}: {told.strip().splitlines()[-1:]}")
        if process.returncode not in (0, 74, 75, 78) or "Traceback" in told:
            self.found.problems.append(f"{fault}: exit {process.returncode}: {told}")
        self._judge(trial, fault)

    def _trial(self) -> Trial:
        folder = Path(self._folder, secrets.token_hex(4))
        folder.mkdir()
        return Trial(self._template, folder, self._key)

    def _judge(self, trial: Trial, title: str) -> None:
        problems = trial.finish()
        if not problems:
            rows, problems = trial.rows(trial.path, is_audited=True)
            if rows != self._expected:
                problems.append(f"rows: found {rows}, expected {self._expected}")
            for copy in trial.copies():
                self.found.copies += 1
                shutil.copy(copy, probe := copy.with_suffix(".probe"))
                rows, wrong = trial.rows(probe, is_audited=False)
                if wrong or rows != self._expected:
                    problems.append(f"{copy.name}: {wrong}, {rows}")
            if not trial.copies():
                problems.append("no copy")
        self.found.problems += [f"{title}: {problem}" for problem in problems]
        shutil.rmtree(trial.path.parent)


@click.command()
@click.option("--kills", default=50, show_default=True, help="Instants at which it is killed.")
@click.option("--faults", default=len(FAULTS), show_default=True, help="Faults of the disk.")
@click.option("--seed", type=int, help="Repeats the choices of a run, though not its instants.")
def main(*, kills: int, faults: int, seed: int | None) -> None:
    """Kill accountd migrate, and let its disk fail."""
    seed = secrets.randbits(32) if seed is None else seed
    click.echo(f"seed {seed}")
    with TemporaryDirectory(prefix="rts-migrating-") as name:
        chaos = Chaos(Path(name), say=lambda line: click.echo(line, err=True))
        chance = random.Random(seed)
        for _ in range(kills):
            chaos.kill(chance)
        for fault in FAULTS[:faults] if STRACE else ():
            chaos.fail(fault)
    found = chaos.found
    click.echo(
        f"killed {found.killed} times ({found.ended_before} too late), {len(found.failed)} faults"
        f" (exit codes {sorted(set(found.failed.values()))}), {found.copies} copies opened,"
        f" {len(found.problems)} problems"
    )
    for problem in found.problems:
        click.echo(problem)
    sys.exit(bool(found.problems))


if __name__ == "__main__":
    main()
