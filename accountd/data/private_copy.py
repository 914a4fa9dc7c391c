"""A copy of an encrypted database that nobody else has open: made, settled, given another key.

The original is copied byte for byte, with its write-ahead log and rollback journal, and is never
opened: opening it would apply them to it. The copy is opened by this process alone, so what is done
to it needs no log of its own: a copy that was interrupted is thrown away (``swap.discard``).

The key is exchanged by ``PRAGMA rekey`` on the copy. An online backup to a connection with another
key makes the same file, and takes twice as long (500 MB: 7.2 s; copy and rekey 3.7 s).
``sqlcipher_export`` drops what is no table (``user_version``, ``application_id``).
"""

import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from sqlcipher3 import dbapi2 as sqlcipher

from accountd.data import open_mark, snapshot, swap
from accountd.data.database import error_name, passphrases, silence_sqlcipher
from accountd.data.log_damage import lost_commits
from shared.errors import DatabaseUnusableError, NotNowError, StorageError, cause_of

_CHUNK_BYTES: Final = 4 * 2**20
_SUFFIXES: Final = ("", "-wal", "-journal")
# Beside the copy itself: its folder grows, and an intent is written.
SPARE_BYTES: Final = 2**20

OnProgress = Callable[[int, int], None]
"""Is told how many bytes of how many are done."""


class WrongKeyError(Exception):
    """The key does not open the copy."""


class DamagedLogError(Exception):
    """Commits in the copy's write-ahead log cannot be read."""


class UnreadableError(StorageError):
    """The disk under the original failed."""


def check_space(folder: Path, needed: int) -> None:
    """Raise ``NotNowError`` where ``folder`` has no room for ``needed`` bytes more."""
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE_BYTES:
        raise NotNowError(
            f"the disk under {folder} has {free:,} bytes free, and {needed + SPARE_BYTES:,} are"
            " needed",
            hint="free some space; nothing was changed",
        )


def length(source: Path) -> int:
    """How many bytes a copy of ``source`` takes."""
    return sum(file.stat().st_size for file in _files(source).values())


def copy(source: Path, staged: Path, on_progress: OnProgress) -> None:
    """Copy the database at ``source`` to ``staged``, with mode 0600.

    Nobody may write it meanwhile. What was left at ``staged`` is removed. Raises ``NotNowError``
    when another program has changed the database.
    """
    swap.discard(staged)
    before = _state(source)
    total, done = length(source), 0
    for suffix, file in _files(source).items():
        with file.open("rb") as reader, create(Path(f"{staged}{suffix}"), like=source) as writer:
            while chunk := _read(reader, file):
                writer.write(chunk)
                done += len(chunk)
                on_progress(done, total)
    if _state(source) != before:
        raise NotNowError(
            f"another program has changed {source} while it was copied",
            hint="close it, and run this again; nothing was changed",
        )


@contextlib.contextmanager
def create(path: Path, *, like: Path) -> Iterator[Any]:
    """A new file of mode 0600 for bytes, which belongs to the owner of ``like``, or of the folder
    where there is no such file: root may run a command for the daemon's user.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        owner = (like if like.exists() else path.parent).stat()
        if os.geteuid() == 0:
            with contextlib.suppress(PermissionError):  # root of a container may lack the right
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
        os.fchmod(descriptor, stat.S_IRUSR | stat.S_IWUSR)
        yield file


@contextlib.contextmanager
def opened(staged: Path, key: str) -> Iterator[Any]:
    """A connection to the copy, after its logs were applied; it is one file afterwards.

    Raises ``WrongKeyError``, and ``DamagedLogError`` before the log is applied.
    """
    connection = _connect(staged, key)
    try:
        if lost := lost_commits(connection):
            raise DamagedLogError(f"{lost:,} commits in it cannot be read")
        # In two steps: leaving WAL mode applies the log.
        connection.execute("PRAGMA journal_mode = DELETE").fetchone()
        connection.execute("PRAGMA journal_mode = OFF").fetchone()
        connection.execute("PRAGMA synchronous = OFF")  # swap syncs the file
        yield connection
    finally:
        connection.close()


def take_over(connection: Any, source: Path) -> None:
    """Clear the mark of the daemon that had ``source`` open, of which this is the copy.

    Raises ``DatabaseUnusableError`` where the source has the mark and no write-ahead log.
    """
    if open_mark.is_set(connection) and not snapshot.has_log(source):
        raise DatabaseUnusableError(
            f"{source} {open_mark.WITHOUT_LOG}",
            hint="put its -wal file beside it, or restore a backup",
        )
    open_mark.clear_in_copy(connection)


def exchange_key(connection: Any, new_key: str) -> None:
    """Encrypt the copy at ``connection`` anew, so that ``new_key`` opens it.

    The connection is to be closed next, and the file proven through another one.
    """
    connection.execute(f"PRAGMA rekey = {_quoted(passphrases(new_key)[0])}")


def _connect(staged: Path, key: str) -> Any:
    silence_sqlcipher()
    for passphrase in passphrases(key):
        connection = sqlcipher.connect(str(staged), isolation_level=None)
        try:
            connection.execute(f"PRAGMA key = {_quoted(passphrase)}")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except BaseException as exc:
            connection.close()
            if error_name(exc) != "SQLITE_NOTADB":
                raise
        else:
            return connection
    raise WrongKeyError


def _quoted(passphrase: str) -> str:
    doubled = passphrase.replace("'", "''")
    return f"'{doubled}'"


def _files(source: Path) -> dict[str, Path]:
    real = Path(os.path.realpath(source))
    found = {suffix: Path(f"{real}{suffix}") for suffix in _SUFFIXES}
    return {suffix: file for suffix, file in found.items() if file.exists()}


def _read(reader: Any, file: Path) -> bytes:
    try:
        found: bytes = reader.read(_CHUNK_BYTES)
    except OSError as exc:
        raise UnreadableError(f"{file}: {cause_of(exc)}") from exc
    return found


def _state(source: Path) -> list[tuple[Path, int, int]]:
    found = [(file, file.stat()) for file in _files(source).values()]
    return [(file, state.st_size, state.st_mtime_ns) for file, state in found]
