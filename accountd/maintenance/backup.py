"""Makes a backup of the database, beside a daemon or without one: one encrypted file, proven.

Runs in a process of its own (``data.snapshot`` says why): ``accountd backup``, or a child of the
daemon (``backup_child``). What is not proven never has the backup's name: the copy is made under
another one, opened with its key by a fresh connection, and proven; then its manifest gets its name,
and the file last. Killed anywhere, it leaves at most a partial file, which the next one removes.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from accountd.clock import now_iso
from accountd.data import private_copy, snapshot, unopenable
from accountd.data.journal import SUFFIX
from accountd.data.links import belongs_to
from accountd.data.partial_file import partial_file
from accountd.maintenance.backup_words import COPYING, VERIFYING
from accountd.maintenance.copy_errors import copy_errors
from accountd.maintenance.manifests import manifest_of, manifest_path, read_manifest
from accountd.maintenance.verifying import verify
from accountd.request_params import Json
from shared.errors import ConfigError, DatabaseUnusableError, NotNowError, StorageError

# What is being done, and how many bytes of how many.
Tell = Callable[[str, int, int], None]

PARTIAL: Final = ".backup-partial"
NICE: Final = 19
_NONE: Final = "no backup was made"


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
    if new_key is not None and (flaw := unopenable.flaw_of(new_key)):
        raise ConfigError(f"the new key {flaw}", hint="expected 64 hex digits, or a passphrase")
    with (
        copy_errors(source, destination, outcome=_NONE),
        _only_one(source),
        partial_file(destination, PARTIAL) as partial,
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
                f"the copy of {source} is damaged, {_NONE}: {found.damage[0]}",
                hint="keep the backups that you have; stop accountd, check the disk, then run:"
                " accountd verify",
            )
        snapshot.sync(partial)
        manifest = manifest_of(found, made_at=now_iso(), has_other_key=new_key is not None)
        _write_manifest(destination, manifest)
        _publish(partial, destination)
    return Backup(destination, manifest)


def _check(source: Path, destination: Path) -> None:
    """Refuse a destination before anything is done."""
    folder = Path(os.path.realpath(destination.parent))
    journal = Path(f"{os.path.realpath(source)}{SUFFIX}")
    if not source.is_file():
        raise DatabaseUnusableError(f"no database at {source}", hint="check DB_PATH")
    if belongs_to(source, destination) or folder / destination.name == journal:
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


def _finish_copy(partial: Path, key: str, new_key: str | None) -> None:
    if lost := snapshot.settle(partial, key):
        raise DatabaseUnusableError(
            f"the write-ahead log is damaged: {lost:,} commits in it cannot be read, {_NONE}",
            hint="restart accountd, which keeps the log and has usage sent again; then run this",
        )
    if new_key is not None:
        with private_copy.opened(partial, key) as connection:
            private_copy.exchange_key(connection, new_key)


def _publish(partial: Path, destination: Path) -> None:
    """Give the file its name; take it away again where the disk does not keep it."""
    if destination.exists():
        raise _exists(destination)
    partial.rename(destination)
    try:
        snapshot.sync(destination.parent)
    except OSError:
        destination.unlink(missing_ok=True)
        raise


def _write_manifest(destination: Path, manifest: Json) -> None:
    path = manifest_path(destination)
    with partial_file(path, PARTIAL) as partial:
        with partial.open("w", encoding="utf-8") as file:
            json.dump(manifest, file, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
        snapshot.sync(path.parent)
    if read_manifest(destination) != json.loads(json.dumps(manifest)):
        raise StorageError(f"{path} was not written as it should, {_NONE}", hint="check the disk")
