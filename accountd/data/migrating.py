"""``accountd migrate``: copies the database, then applies what it lacks, a migration at a time.

A migration is one transaction: killed in the middle, the next try begins with it anew. The copy is
what a release that does not know the new schema is given again; it lies beside the database.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from accountd.data import database, file_modes
from accountd.data.database import OpenDatabase
from accountd.data.unopenable import copy_before
from shared.errors import StorageError, cause_of

# What migrations read again and again stays in memory, where there is so much: a quarter less time.
_CACHE_SHARE: Final = 4  # of what is available
_CACHE_BYTES_MIN, _CACHE_BYTES_MAX = 64 * 2**20, 2**30
_CONTAINER_MEMORY: Final = Path("/sys/fs/cgroup/memory.max")
# A look at the clock so often, in steps of SQLite's machine: some tens a second.
_STEPS_BETWEEN_LOOKS: Final = 1_000_000
_COPY: Final = """
import shutil, sys
try:
    shutil.copyfile(sys.argv[1], sys.argv[2])
except OSError as exc:
    sys.exit(exc.strerror)
"""

_COPY_PRAGMAS: Final = {**database.PRAGMAS, "journal_mode": "delete", "synchronous": "off"}

Tell = Callable[[str, float | None], None]
"""Is told what is being done, and which share of it is; None: so much as before, time passes."""


def migrate(
    path: Path, key: str, *, makes_copy: bool, tell: Tell, note: Callable[[str], None]
) -> Iterator[str]:
    """Bring the database to the newest schema; the names of what was applied, each when it is.

    ``note`` is told what an operator should know beside that.
    """
    with database.open_for_migrating(path, key) as opened:
        pending = pending_in(opened)
        has_rows = any(step.applied for step in opened.runner.status()) or bool(
            opened.database.get_tables()
        )
        if pending and has_rows and makes_copy:
            note(_copied(opened, path, pending[0], tell))
        opened.database.execute_sql(f"PRAGMA cache_size = -{_cache_bytes() // 1024}")
        # SQLCipher zeroes what is freed: a dropped table is written once more. It is encrypted,
        # and its rows are still there, in another one.
        opened.database.execute_sql("PRAGMA secure_delete = fast")
        for number, name in enumerate(pending, 1):
            _apply(opened, name, f"{name} ({number} of {len(pending)})", tell)
            yield name
        for line in file_modes.close_to_others(path):
            note(line)


@contextlib.contextmanager
def opened_copy(path: Path, key: str) -> Iterator[OpenDatabase]:
    """A copy that nobody else has, with any schema. What is interrupted here is thrown away."""
    opened = database.connect(path, key, _COPY_PRAGMAS)
    try:
        yield database.of_known_schema(opened, path)
    finally:
        database.close(opened)


def migrate_copy(opened: OpenDatabase, tell: Tell) -> list[str]:
    """Bring a private copy to the newest schema; the names of what was applied."""
    pending = pending_in(opened)
    for number, name in enumerate(pending, 1):
        _apply(opened, name, f"{name} ({number} of {len(pending)})", tell)
    return pending


def pending_in(opened: OpenDatabase) -> list[str]:
    """The migrations that were not applied, in their order."""
    return [step.name for step in opened.runner.status() if not step.applied]


def _apply(opened: OpenDatabase, name: str, title: str, tell: Tell) -> None:
    """Apply one migration, which may say how far it is by ``db.on_progress``."""
    ledger: Any = opened.database
    connection = ledger.connection()

    def on_progress(what: str, share: float) -> None:
        tell(f"{title}: {what}", share)

    def on_steps() -> int:
        tell("", None)
        return 0  # go on

    tell(title, 0.0)
    ledger.on_progress = on_progress
    connection.set_progress_handler(on_steps, _STEPS_BETWEEN_LOOKS)
    try:
        opened.runner.up(name)
    finally:
        connection.set_progress_handler(None, 0)


def _cache_bytes() -> int:
    """How much memory the pages of the database may take."""
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError):  # outside of a container, or without a limit
        available = min(available, int(_CONTAINER_MEMORY.read_text()))
    return max(_CACHE_BYTES_MIN, min(_CACHE_BYTES_MAX, available // _CACHE_SHARE))


def _copied(opened: OpenDatabase, path: Path, migration: str, tell: Tell) -> str:
    """Copy the database, complete and durable, under a name that says before what; what to note.

    The lock is held, so nobody writes; a read transaction keeps the file as it is nevertheless.
    Copied by a process of its own: closing the file here would drop the locks of SQLite.
    """
    copy = copy_before(path, migration)
    part = copy.with_name(f"{copy.name}.part")
    connection = opened.database.connection()
    if "custody" in opened.database.get_tables():
        # A daemon that was killed has left its mark; the copy has all that the log had.
        connection.execute("UPDATE custody SET is_open = 0 WHERE is_open <> 0")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    file_bytes = path.stat().st_size
    free = shutil.disk_usage(path.parent).free
    if free < 2 * file_bytes:  # the migration needs room as well
        return (
            f"no copy of {path} was made: of twice its {_megabytes(file_bytes)} MB the disk has"
            f" {_megabytes(free)} free"
        )
    connection.execute("BEGIN")
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        _copy(path, part, lambda share: tell(f"copying to {copy}", share))
        if part.stat().st_size != file_bytes:
            raise _not_copied(path, "the copy has another length")
        _sync(part)
        part.rename(copy)
        _sync(path.parent)
    except OSError as exc:
        raise _not_copied(path, cause_of(exc)) from exc
    finally:
        connection.execute("COMMIT")
        part.unlink(missing_ok=True)
    return f"copied {path} to {copy}, to go back to; remove it when nobody will"


def _copy(path: Path, part: Path, on_share: Callable[[float], None]) -> None:
    """Copy the bytes in a process of its own."""
    file_bytes = path.stat().st_size
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
    with subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", _COPY, str(path), str(part)], stderr=subprocess.PIPE, text=True
    ) as copying:
        while copying.poll() is None:
            on_share(part.stat().st_size / file_bytes)
            _wait_a_little(copying)
        told = copying.stderr.read().splitlines() if copying.stderr else []
    if copying.returncode:
        raise _not_copied(path, told[-1] if told else f"killed ({copying.returncode})")


def _not_copied(path: Path, why: str) -> StorageError:
    return StorageError(
        f"cannot copy {path}: {why}",
        hint="check the disk and its space, or run accountd migrate --no-copy; nothing was changed",
    )


def _wait_a_little(process: "subprocess.Popen[str]") -> None:
    try:
        process.wait(0.1)
    except subprocess.TimeoutExpired:
        return


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _megabytes(count: int) -> str:
    return f"{count / 2**20:,.0f}"
