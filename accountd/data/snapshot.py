"""A physical copy of a database that others write meanwhile: its bytes, and those of its log.

Called by the commands that copy the file, in a process of their own: when any descriptor of a
database is closed, the kernel drops the POSIX locks that the process has on it.

Why the bytes make a database. While ``Hold`` reads, the write-ahead log is not begun anew, or,
where all of it was in the database already, nothing is moved into the database. Pages that were
moved while they were copied are whole in the log, which is copied afterwards. SQLite's own
recovery makes the copy the state of a commit at or after the beginning of the hold. No page is
decrypted.
"""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from playhouse.sqlcipher_ext import SqlCipherDatabase

from accountd.data import database, open_mark, swap
from accountd.data.log_damage import lost_commits
from shared.errors import NotNowError

OnProgress = Callable[[int, int], None]

WAL: Final = "-wal"
# What SQLite may keep beside a database.
COMPANIONS: Final = (WAL, "-shm", "-journal")
_READER: Final[dict[str, Any]] = {"query_only": 1, "busy_timeout": 5_000}
# A copy that nobody else has: a power failure while it is settled leaves nothing that counts.
_SETTLER: Final[dict[str, Any]] = {"synchronous": "off"}
_CHUNK_BYTES: Final = 4 * 1024 * 1024
# Written to the disk after so many bytes: else the daemon's next fsync would wait for all of them.
_SYNC_BYTES: Final = 8 * 1024 * 1024
# The log's header: a new one means that the log was begun anew (its salts differ).
_WAL_HEADER_BYTES: Final = 32
_BEGIN: Final = ("BEGIN", "SELECT count(*) FROM sqlite_master")


class Hold:
    """A read transaction that is held while the bytes of the file are copied. A context manager.

    Meanwhile the write-ahead log grows. ``refresh`` moves on to the newest commit and lets the log
    be emptied up to it; there is no moment without a hold.
    """

    def __init__(self, path: Path, key: str) -> None:
        self._path, self._key = path, key
        self._held: Any = None
        self._other: Any = None
        self._mark = open_mark.OpenMark(path)

    def __enter__(self) -> "Hold":
        """Begin to hold."""
        self._held = self._begun(None)
        return self

    def __exit__(self, *_exc: object) -> None:
        """Let go. The daemon may have been killed: then this closes the file."""
        if self._other is not None:
            self._other.close()
        self._held.execute_sql("COMMIT")
        self._mark.close(self._held)
        self._held = self._other = None

    def refresh(self) -> None:
        """Hold the newest commit in the place of the one held so far."""
        newer = self._begun(self._other or _sibling(self._held))
        self._held.execute_sql("COMMIT")
        self._held, self._other = newer, self._held

    def _begun(self, connection: Any) -> Any:
        one = connection or database.connect(self._path, self._key, _READER)
        for statement in _BEGIN:
            one.execute_sql(statement).fetchall()
        return one


def _sibling(first: SqlCipherDatabase) -> SqlCipherDatabase:
    """Another connection, for which this process closes no descriptor of the file."""
    other = SqlCipherDatabase(first.database, pragmas=_READER, **first.connect_params)
    other.connect()
    return other


def has_log(path: Path) -> bool:
    """Whether a write-ahead log is beside the file: it may lack what is in there."""
    return Path(f"{path}{WAL}").exists()


def copy_database(source: Path, key: str, destination: Path, *, on_progress: OnProgress) -> None:
    """Copy the newest committed state of ``source`` to ``destination`` and ``destination-wal``.

    ``source`` is not changed, and may be in use. ``on_progress`` is called with the bytes copied
    and those to copy. Raises an ``OperatorError`` when the source cannot be used, ``OSError`` when
    the copy cannot be written.
    """
    if swap.is_unfinished(source):
        raise NotNowError(
            f"a replacement of {source} was interrupted",
            hint="run accountd migrate, which finishes it; then this again",
        )
    with contextlib.ExitStack() as stack:
        # Opened before the hold and closed after it: see the locks above.
        file = stack.enter_context(source.open("rb", buffering=0))
        if not stack.enter_context(_unused(source)):
            stack.enter_context(Hold(source, key))
        total = source.stat().st_size + _size(Path(f"{source}{WAL}"))
        done = _copy(file.fileno(), destination, lambda copied: on_progress(copied, total))
        if has_log(source):
            _copy_log(source, destination, lambda copied: on_progress(done + copied, total))
        on_progress(total, total)


def settle(copy: Path, key: str, *, is_taken_over: bool = True) -> int:
    """Make a copy one file: what its log has is moved into it, and the log is removed.

    ``is_taken_over``: the mark of the daemon that had the source open is cleared. Returns how many
    commits the copy lacks because the log is damaged.
    """
    opened = database.connect(copy, key, _SETTLER)
    try:
        lost = lost_commits(opened.connection())
        opened.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        opened.execute_sql("PRAGMA journal_mode = DELETE").fetchall()
        if is_taken_over:
            open_mark.clear_in_copy(opened.connection())
    finally:
        opened.close()
    discard_companions(copy)
    return lost


def discard_companions(copy: Path) -> None:
    """Remove what is left beside a copy; the copy is closed, and has no use of it."""
    for suffix in COMPANIONS:
        Path(f"{copy}{suffix}").unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _unused(path: Path) -> Iterator[bool]:
    """Whether no accountd has the database; none takes it meanwhile. Makes no lock file."""
    try:
        descriptor = os.open(f"{path}.lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield True
        return
    except OSError:  # of another user: then it may be in use
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)


def _copy_log(source: Path, destination: Path, on_copied: Callable[[int], None]) -> None:
    """Copy the log. Where it was begun anew meanwhile, its copy mixes two: copy it again.

    Under a hold that happens once at most.
    """
    log, copied = Path(f"{source}{WAL}"), Path(f"{destination}{WAL}")
    while True:
        with log.open("rb", buffering=0) as file:
            _copy(file.fileno(), copied, on_copied)
            header = os.pread(file.fileno(), _WAL_HEADER_BYTES, 0)
        with copied.open("rb") as written:
            if written.read(_WAL_HEADER_BYTES) == header:
                return


def _copy(source: int, destination: Path, on_copied: Callable[[int], None]) -> int:
    """Copy the bytes that are there now; how many."""
    left, copied, synced = os.fstat(source).st_size, 0, 0
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    with os.fdopen(os.open(destination, flags, 0o600), "wb", buffering=0) as file:
        while left and (chunk := os.pread(source, min(_CHUNK_BYTES, left), copied)):
            view = memoryview(chunk)
            while view:
                view = view[file.write(view) :]
            copied, left = copied + len(chunk), left - len(chunk)
            if copied - synced >= _SYNC_BYTES:
                os.fdatasync(file.fileno())
                synced = copied
            on_copied(copied)
    return copied


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
