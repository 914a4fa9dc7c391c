"""Makes a backup of the database, beside a daemon or without one: one encrypted file, proven.

Runs in a process of its own (``data.snapshot`` says why): ``accountd backup``, or a child of the
daemon (``backup_child``). What is not proven never has the backup's name: the copy is made under
another one, opened with its key by a fresh connection, and proven; then its manifest gets its name,
and the file last. Killed anywhere, it leaves at most a partial file, which the next one removes.
"""

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from accountd.clock import now_iso
from accountd.data import database, private_copy, snapshot
from accountd.maintenance.backup_words import COPYING, VERIFYING
from accountd.maintenance.manifests import manifest_of, manifest_path
from accountd.maintenance.verifying import verify
from accountd.request_params import Json
from shared.errors import ConfigError, DatabaseUnusableError, NotNowError, StorageError, cause_of

# What is being done, and how many bytes of how many.
Tell = Callable[[str, int, int], None]

PARTIAL: Final = ".backup-partial"
NICE: Final = 19
# Names beside the database that are its own.
_OWN: Final = ("", *snapshot.COMPANIONS, ".lock", ".swap", ".staged", ".journal")


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was made. ``ok``: the audit of what is in it is OK, too."""

    path: Path
    manifest: Json

    @property
    def ok(self) -> bool:
        """Whether nothing was found; the backup counts nevertheless."""
        return not self.manifest["audit"]["findings"]


def make_backup(
    source: Path, key: str, destination: Path, *, new_key: str | None, tell: Tell
) -> Backup:
    """Copy the database at ``source`` to ``destination``, and prove the copy.

    ``new_key``: the key of the copy, where it is another one. Raises an ``OperatorError`` when no
    backup was made, in which case nothing with that name is there.
    """
    _check(source, destination)
    with (
        _errors_translated(source, destination),
        _only_one(source),
        _partial(destination) as partial,
    ):
        snapshot.copy_database(
            source, key, partial, on_progress=lambda done, total: tell(COPYING, done, total)
        )
        _finish_copy(partial, key, new_key)
        found = verify(
            partial, new_key or key, on_progress=lambda done, total: tell(VERIFYING, done, total)
        )
        if found.damage:
            raise DatabaseUnusableError(
                f"the copy of {source} is damaged, no backup was made: {found.damage[0]}",
                hint="keep the backups that you have; stop accountd, check the disk, then run:"
                " accountd verify",
            )
        snapshot.sync(partial)
        manifest = manifest_of(found, made_at=now_iso(), has_other_key=new_key is not None)
        _write_manifest(destination, manifest)
        if destination.exists():
            raise _exists(destination)
        partial.rename(destination)
        snapshot.sync(destination.parent)
    return Backup(destination, manifest)


def remove_leftovers(folder: Path) -> None:
    """Remove the partial files of backups that were killed; those that are being made stay."""
    for path in folder.glob(f".*{PARTIAL}"):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                snapshot.discard_companions(path)
                path.unlink(missing_ok=True)
            finally:
                os.close(descriptor)


def _check(source: Path, destination: Path) -> None:
    """Refuse a destination before anything is done."""
    folder = Path(os.path.realpath(destination.parent))
    beside = Path(os.path.realpath(source))
    if not source.is_file():
        raise DatabaseUnusableError(f"no database at {source}", hint="check DB_PATH")
    if folder / destination.name in [beside.with_name(beside.name + one) for one in _OWN]:
        raise ConfigError(f"{destination} belongs to the database", hint="choose another name")
    if destination.is_dir():
        raise ConfigError(f"{destination} is a folder", hint="name a file in it")
    if not folder.is_dir():
        raise ConfigError(f"no folder {destination.parent}", hint="make it first")
    if os.path.lexists(destination):
        raise _exists(destination)


def _exists(destination: Path) -> ConfigError:
    return ConfigError(f"{destination} is there already", hint="a backup replaces no file")


@contextlib.contextmanager
def _only_one(source: Path) -> Iterator[None]:
    """One backup of a database at a time. The descriptor is closed last: see ``data.snapshot``."""
    descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NotNowError(
                f"another backup of {source} is being made", hint="wait until it is done"
            ) from None
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _partial(destination: Path) -> Iterator[Path]:
    """The file in which the copy is made; locked, so that nobody takes it for a leftover."""
    remove_leftovers(destination.parent)
    partial = destination.with_name(f".{destination.name}{PARTIAL}")
    descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield partial
    finally:
        snapshot.discard_companions(partial)
        partial.unlink(missing_ok=True)
        os.close(descriptor)


def _finish_copy(partial: Path, key: str, new_key: str | None) -> None:
    if lost := snapshot.settle(partial, key):
        raise DatabaseUnusableError(
            f"the write-ahead log is damaged: {lost:,} commits in it cannot be read",
            hint="restart accountd, which keeps the log and has usage sent again; then run this",
        )
    if new_key is not None:
        with private_copy.opened(partial, key) as connection:
            private_copy.exchange_key(connection, new_key)


def _write_manifest(destination: Path, manifest: Json) -> None:
    path = manifest_path(destination)
    partial = path.with_name(f".{path.name}{PARTIAL}")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        with os.fdopen(os.open(partial, flags, 0o600), "w", encoding="utf-8") as file:
            json.dump(manifest, file, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
        snapshot.sync(path.parent)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _errors_translated(source: Path, destination: Path) -> Iterator[None]:
    """What fails here fails on the copy, or while the source is read."""
    try:
        yield
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _disk_full(destination) from exc
        if exc.errno == errno.EIO:
            raise StorageError(
                f"I/O error while {source} was copied to {destination}",
                hint="check both disks; no backup was made",
            ) from exc
        raise ConfigError(
            f"cannot write {destination}: {cause_of(exc)}", hint="let this user write the folder"
        ) from exc
    except Exception as exc:
        if database.error_name(exc) == "SQLITE_FULL":
            raise _disk_full(destination) from exc
        failure = database.translate(exc, destination)
        if failure is None:
            raise
        raise failure from exc


def _disk_full(destination: Path) -> NotNowError:
    return NotNowError(
        f"the disk under {destination} is full, no backup was made",
        hint="free some space, or name a folder on another disk",
    )
