"""``accountd rekey``: the database and its journal under another key.

Both are copied, the copies are given the new key and proven, and then they take the places of the
files under the old key in one step (``swap``), if asked together with the key file. The files in
use are never opened: ``PRAGMA rekey`` on a file in WAL mode succeeds under a reader, whose next
transaction then fails for good.
"""

import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from sqlcipher3 import dbapi2 as sqlcipher

from accountd.data import database, private_copy, standby_role
from accountd.data.journal import Journal, JournalError, JournalFault
from accountd.data.swap import Replacement
from accountd.maintenance import staging
from accountd.maintenance.staging import Tell
from shared.errors import DatabaseUnusableError


@dataclass(frozen=True, slots=True)
class Rekeyed:
    """What is under the new key now, what was kept as it was, and how long it took."""

    replaced: tuple[Path, ...]
    kept: tuple[Path, ...]
    seconds: float


def rekey(
    path: Path, key: str, new_key: str, *, journal: Path, key_file: Path | None, tell: Tell
) -> Rekeyed:
    """Encrypt the database at ``path``, and ``journal`` where there is one, with ``new_key``.

    ``key_file``, where it is given, gets the new key in the same step. Raises an ``OperatorError``
    that says whether something was changed.
    """
    started = time.monotonic()
    with database.locked(path):
        standby_role.check_may_serve(path)
        if not path.exists():
            raise DatabaseUnusableError(f"no database at {path}", hint="set DB_PATH")
        sources = (path, journal) if journal.exists() else (path,)
        _check_journal(journal, key)
        for source in sources:
            private_copy.check_space(source.parent, private_copy.length(source))
        targets = (*sources, key_file) if key_file else sources
        with staging.staged(path, *targets) as replacements:
            for source, replacement in zip(sources, replacements, strict=False):
                stage(source, replacement, key, new_key, tell, is_proven=False)
                staging.prove(replacement, new_key, named=source, tell=tell)
            if key_file:
                _stage_key(key_file, replacements[-1], new_key)
            tell("replacing the files", 1.0)
            kept = staging.exchange(path, replacements)
    return Rekeyed(targets, kept, time.monotonic() - started)


def stage(
    source: Path, replacement: Replacement, key: str, new_key: str, tell: Tell, *, is_proven: bool
) -> None:
    """A copy of ``source`` under the new key, with all that its log has."""
    staging.copy(source, replacement, tell)
    with staging.opened(replacement, key, named=source) as connection:
        if not is_proven:
            staging.check_source(connection, named=source, tell=tell)
        private_copy.take_over(connection, source)
    if new_key != key:
        tell(f"giving the new {replacement.target.name} its key", 0.0)
        try:
            with private_copy.opened(replacement.staged, key) as connection:
                private_copy.exchange_key(connection, new_key)
        except sqlcipher.Error as exc:
            if database.passing_trouble(exc) is not None:  # else the proof finds it
                raise


def _check_journal(journal: Path, key: str) -> None:
    """A file that ACCOUNTD_JOURNAL names by mistake keeps its key. Raises ``JournalError``."""
    try:
        Journal.open(journal, key).close()
    except JournalError as exc:
        if exc.fault is JournalFault.OTHER_FILE:
            raise


def _stage_key(key_file: Path, replacement: Replacement, new_key: str) -> None:
    """A key file that the same users can read as the one in use."""
    with private_copy.create(replacement.staged, like=key_file) as file:
        os.fchmod(file.fileno(), stat.S_IMODE(key_file.stat().st_mode) & ~stat.S_IRWXO)
        file.write(f"{new_key}\n".encode())
