"""The one module that opens the encrypted database file.

``open_for_serving`` refuses a file that is not a database of this project at the newest schema;
``open_for_migrating`` creates the file when it is missing. Both hold a lock file, so that there is
one daemon per database.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from enum import Enum
from importlib import resources
from pathlib import Path
from typing import Any, Final

import peewee
from playhouse.migrations import Runner
from playhouse.sqlcipher_ext import SqlCipherDatabase
from sqlcipher3 import dbapi2 as sqlcipher

from accountd.data import lock_file, models, standby_role, swap, unopenable
from accountd.data.log_damage import keep_damaged_log
from accountd.data.open_mark import OpenMark
from accountd.data.pruning_lock import pruning_excluded
from shared.errors import (
    AlreadyRunningError,
    ConfigError,
    DatabaseUnusableError,
    NotNowError,
    OperatorError,
    StorageError,
    cause_of,
)

# A raw 256-bit key opens in 0.3 ms; a passphrase costs 100-200 ms of key derivation.
_RAW_KEY: Final = re.compile(r"[0-9a-fA-F]{64}")
# The length to which the write-ahead log is truncated once no reader needs it. SQLite starts it
# over at 4 MiB, and the largest group of usage adds about 12 MiB.
WAL_BYTES_MAX: Final = 16 * 1024 * 1024
# WAL with FULL lost no acknowledged commit in 2,000 simulated power failures; NORMAL lost many.
PRAGMAS: Final[dict[str, Any]] = {
    "journal_mode": "wal",
    "synchronous": "full",
    "journal_size_limit": WAL_BYTES_MAX,
    "foreign_keys": 1,
    "cache_size": -65_536,  # KiB; with 2 MiB, the default, 10,000 live accounts halve the rate
    "busy_timeout": 1_000,  # milliseconds; the daemon tries again by itself
}
# The least free space for opening: the index of the WAL (32 KiB) and a few pages.
START_BYTES_MIN: Final = 64 * 1024
# The daemon exits after these errors: it is unknown whether the failed commit is on the disk.
FATAL_ERRORS: Final = ("SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_NOTADB")
_MIGRATE: Final = "run: accountd migrate"
_HINT_BY_ERRNO: Final = {
    errno.EACCES: "let this user enter and write the folder, or name another one",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.ENOTDIR: "a part of the path is a file; name another folder",
    errno.EEXIST: "the folder's name is that of a file; name another folder",
    errno.EROFS: "the disk is read-only; name a folder on another one",
}


@dataclass(frozen=True, slots=True)
class OpenDatabase:
    """An open database, whose lock file this process holds."""

    database: SqlCipherDatabase
    runner: Runner


@contextmanager
def open_for_serving(path: Path, key: str) -> Iterator[OpenDatabase]:
    """The database at the newest schema; raises an ``OperatorError`` when it cannot be used."""
    if not _size(path) and not swap.is_unfinished(path):
        raise unopenable.missing(path)
    if _has_no_space(path):  # SQLite would report an I/O error of the WAL's index
        raise NotNowError(f"the disk under {path} is full", hint=Trouble.DISK_FULL.hint)
    with locked(path, beside_pruning=True):
        standby_role.check_may_serve(path)
        with open_at_newest(path, key) as opened:
            yield opened


@contextmanager
def open_for_pruning(path: Path, key: str) -> Iterator[OpenDatabase]:
    """The database at the newest schema, beside the daemon that serves it or without one."""
    if not _size(path):
        raise unopenable.missing(path)
    standby_role.check_may_serve(path)
    with pruning_excluded(path):
        if swap.is_unfinished(path):
            raise DatabaseUnusableError(
                f"the replacement of {path} was interrupted", hint="start accountd: it finishes it"
            )
        with open_at_newest(path, key) as opened:
            yield opened


@contextmanager
def open_for_migrating(path: Path, key: str) -> Iterator[OpenDatabase]:
    """The database with any schema; a missing file is created with mode 0600."""
    _check_key(key)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise _unreachable(f"create {path.parent}", exc) from exc
    _size(path)  # a path that cannot be a database leaves no lock file
    with locked(path):
        standby_role.check_may_serve(path)
        if is_new := not _size(path):
            unopenable.refuse_flawed(path, key)
            unopenable.refuse_new_beside_traces(path)
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
        mark = OpenMark(path)
        database = _connect(path, passphrases(key)[0]) if is_new else connect(path, key)
        try:
            mark.check(database)
            keep_damaged_log(path, database.connection())
            yield of_known_schema(database, path)
        finally:
            close(database, mark)


@contextmanager
def locked(path: Path, *, beside_pruning: bool = False) -> Iterator[None]:
    """Hold the lock of the database, ``<path>.lock``, after an interrupted ``swap`` was finished.

    The file names the process. Where rows may move into an archive meanwhile, say
    ``beside_pruning``. The kernel releases the lock when the process ends or is killed.
    """
    try:
        descriptor = lock_file.take(path)
    except OSError as exc:
        raise _unreachable(f"create {lock_file.path_of(path)}", exc) from exc
    if descriptor is None:
        raise AlreadyRunningError(
            f"another accountd owns {path}", hint="stop it first; one daemon per database"
        )
    try:
        with nullcontext() if beside_pruning else pruning_excluded(path):
            _finish_swap(path)
            yield
    finally:
        os.close(descriptor)


def finish_interrupted(path: Path) -> None:
    """Let new files take their places where that was interrupted, unless a daemon is doing so."""
    if swap.is_unfinished(path):
        with suppress(AlreadyRunningError), locked(path):
            pass


@contextmanager
def errors_translated(path: Path) -> Iterator[None]:
    """Translate a database error that ends a program into an ``OperatorError`` (``translate``)."""
    try:
        yield
    except Exception as exc:
        failure = None if isinstance(exc, OperatorError) else translate(exc, path)
        if failure is None:
            raise
        raise failure from exc


def translate(exc: Exception, path: Path) -> OperatorError | None:
    """The ``OperatorError`` (exit code 74, 75 or 78) for a database error; None for others.

    A commit that failed with an I/O error may or may not be on the disk, so the daemon ends. The
    gateways send the unacknowledged usage again, and accountd refuses as duplicates the part that
    was committed.
    """
    name = error_name(exc)
    passing = passing_trouble(exc)  # the daemon's loop waits instead: only a start ends with these
    if passing is not None:
        return NotNowError(f"{passing.value} ({path})", hint=passing.hint)
    if name.startswith("SQLITE_IOERR"):
        return StorageError(
            f"I/O error on {path} ({name})", hint="check the disk, then start accountd again"
        )
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return DatabaseUnusableError(
            f"{path} is damaged ({name})", hint="restore it from a backup: accountd restore"
        )
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return DatabaseUnusableError(f"{path} cannot be written ({name})", hint="check its mode")
    return None


class Trouble(Enum):
    """A temporary reason why a transaction failed; nothing of it is on the disk."""

    DISK_FULL = "disk full"
    LOCKED = "database locked"

    @property
    def hint(self) -> str:
        """What the operator should do."""
        if self is Trouble.DISK_FULL:
            return "free some space"
        return "another program has the database open and locked; close it"


def passing_trouble(exc: BaseException) -> Trouble | None:
    """The trouble after which the same transaction may succeed later; None for other errors."""
    name = error_name(exc)
    if name == "SQLITE_FULL":
        return Trouble.DISK_FULL
    return Trouble.LOCKED if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")) else None


def error_name(exc: BaseException) -> str:
    """SQLite's name of an error, e.g. ``SQLITE_FULL``; empty when it is none of SQLite's.

    SQLite rolls a transaction back by itself when a COMMIT finds the disk full. peewee then rolls
    back again, which fails with ``SQLITE_ERROR``; the first error is in that one's ``__context__``.
    """
    found = ""
    step: BaseException | None = exc
    while step is not None:
        name = getattr(step, "sqlite_errorname", None)
        if isinstance(name, str):
            if name != "SQLITE_ERROR":
                return name
            found = name
        step = step.__cause__ or step.__context__
    return found


# --- helpers -------------------------------------------------------------------------------------


@contextmanager
def open_at_newest(path: Path, key: str) -> Iterator[OpenDatabase]:
    """The database at the newest schema; whoever asks holds a lock."""
    mark = OpenMark(path)
    database = connect(path, key)
    try:
        mark.check(database)
        keep_damaged_log(path, database.connection())
        opened = of_known_schema(database, path)
        _check_schema(opened.runner, path)
        yield opened
    finally:
        close(database, mark)


def _finish_swap(path: Path) -> None:
    try:
        swap.finish(path)
    except OSError as exc:
        raise StorageError(
            f"cannot finish the replacement of {path}, which was interrupted: {cause_of(exc)}",
            hint="its folder must be writable; then run this again",
        ) from exc


def _size(path: Path) -> int:
    """How many bytes the file has; 0 when there is none. Raises ``ConfigError``."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0
    except OSError as exc:
        raise _unreachable(f"reach {path}", exc) from exc
    if stat.S_ISDIR(found.st_mode):
        raise ConfigError(
            f"DB_PATH: {path} is a directory",
            hint=f"name a file in it, e.g. {path / 'accounts.db'}",
        )
    return found.st_size


def _unreachable(what: str, exc: OSError) -> ConfigError:
    hint = _HINT_BY_ERRNO.get(exc.errno or 0, "")
    return ConfigError(f"DB_PATH: cannot {what}: {exc.strerror}", hint=hint)


def _has_no_space(path: Path) -> bool:
    disk = os.statvfs(path.parent)
    return disk.f_bavail * disk.f_frsize < START_BYTES_MIN


def _check_key(key: str) -> None:
    if not key:
        # SQLCipher accepts an empty passphrase without an error and writes an unencrypted file.
        raise DatabaseUnusableError(
            "the database key is empty", hint="set DB_ENCRYPTION_KEY_FILE or DB_ENCRYPTION_KEY"
        )


def passphrases(key: str) -> list[str]:
    """The passphrases to try, in order: 64 hex digits as a raw key first, then as a passphrase."""
    return [f"x'{key}'", key] if _RAW_KEY.fullmatch(key) else [key]


def connect(
    path: Path, key: str, pragmas: dict[str, Any] = PRAGMAS, *, is_immutable: bool = False
) -> SqlCipherDatabase:
    """A connection to an existing file, without its lock; raises an ``OperatorError``.

    ``is_immutable``: nobody writes it, so that no lock is taken, no file is made beside it, and its
    write-ahead log is not read.
    """
    _check_key(key)
    try:
        with path.open("rb") as file:
            head = file.read(unopenable.HEADER_BYTES)
    except OSError as exc:
        raise DatabaseUnusableError(f"cannot read {path}: {exc.strerror}") from exc
    unopenable.refuse_plain(path, head)
    for passphrase in passphrases(key):
        try:
            return _connect(path, passphrase, pragmas, is_immutable=is_immutable)
        except peewee.DatabaseError as exc:
            if "not a database" not in str(exc):
                failure = DatabaseUnusableError(f"{path} cannot be opened: {exc}")
                raise (translate(exc, path) or failure) from None
    raise unopenable.key_does_not_open(path, key)


def _connect(
    path: Path, passphrase: str, pragmas: dict[str, Any] = PRAGMAS, *, is_immutable: bool = False
) -> SqlCipherDatabase:
    silence_sqlcipher()
    name = f"{path.absolute().as_uri()}?immutable=1" if is_immutable else str(path)
    database = SqlCipherDatabase(name, passphrase=passphrase, pragmas=pragmas, uri=is_immutable)
    try:
        database.connect()
        version = database.execute_sql("PRAGMA cipher_version").fetchone()
        if not version or not version[0]:
            raise DatabaseUnusableError(
                "the SQLite driver has no encryption", hint="install sqlcipher3, and only it"
            )
        # SQLCipher reports a wrong key only at the first read.
        database.execute_sql("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        database.close()
        raise
    return database


def silence_sqlcipher() -> None:
    """Stop SQLCipher from writing errors to stderr: it raises them as well."""
    connection = sqlcipher.connect(":memory:")
    connection.execute("PRAGMA cipher_log_level = NONE")
    connection.close()


def of_known_schema(database: SqlCipherDatabase, path: Path) -> OpenDatabase:
    """A connection with its migrations, all of which this release knows; else an error."""
    models.database.initialize(database)
    runner = Runner(database, str(resources.files("migrations")))
    unknown = [m.name for m in runner.status() if m.path is None]
    if unknown:
        raise DatabaseUnusableError(
            f"{path} has a newer schema; unknown here: {', '.join(unknown)}",
            hint=f"install the release that wrote it{unopenable.way_back(path, unknown)}",
        )
    return OpenDatabase(database, runner)


def newest_migration() -> str:
    """The name of the last migration of this release."""
    folder = resources.files("migrations")
    return max(f.name.removesuffix(".py") for f in folder.iterdir() if f.name[:1].isdigit())


def _check_schema(runner: Runner, path: Path) -> None:
    pending = [m.name for m in runner.status() if not m.applied]
    if pending:
        raise DatabaseUnusableError(
            f"{path} has an older schema; pending: {', '.join(pending)}", hint=_MIGRATE
        )


def close(database: Any, mark: OpenMark | None = None) -> None:
    """Close what was opened here; ``mark`` is that of a file with its lock."""
    models.database.initialize(None)
    if mark is None:
        database.close()
    else:
        mark.close(database)


@contextmanager
def transaction(connection: Any) -> Iterator[None]:
    """Commit all statements inside together, or roll them back when one raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
