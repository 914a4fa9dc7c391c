"""The spool directory: one folder for every producer, locked by the process that owns it.

::

    GATEWAY_SPOOL_DIR/<producer in hex>.lock        flock'ed by its owner; the kernel frees it
    GATEWAY_SPOOL_DIR/<producer in hex>/00000001    segments, see gateway/journal.py

The lock is taken before the folder exists and given up after it is gone: a folder whose lock is
free belongs to a process that ended, and whoever gets the lock adopts it.
"""

import contextlib
import fcntl
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from shared.errors import ConfigError
from shared.transport import make_private_folder
from shared.wire import PRODUCER_BYTES

_FOLDER: Final = re.compile(rf"[0-9a-f]{{{2 * PRODUCER_BYTES}}}")
_SEGMENT: Final = re.compile(r"[0-9]{8}")


class FileStore:
    """The segments of one producer as files. It holds the producer's lock until ``close``."""

    def __init__(self, folder: Path, lock: int) -> None:
        self._folder = folder
        self._lock = lock
        self._number = 0  # the segment that is open for appending
        self._file = -1
        self._size = 0
        self._unsynced: set[Path] = set()

    @property
    def producer(self) -> bytes:
        """The producer whose journal this is."""
        return bytes.fromhex(self._folder.name)

    def segments(self) -> list[tuple[int, float]]:
        """See ``Store``."""
        found = sorted(p for p in self._folder.iterdir() if _SEGMENT.fullmatch(p.name))
        return [(int(path.name), path.stat().st_mtime) for path in found]

    def append(self, segment: int, data: bytes) -> None:
        """See ``Store``. A part that was written before the disk was full is cut off again."""
        if segment != self._number:
            self._switch_to(segment)
        try:
            written = os.write(self._file, data)
            if written < len(data):
                written += os.write(self._file, data[written:])
            if written < len(data):
                raise OSError(f"only {written} of {len(data)} bytes were written")
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise
        self._size += len(data)

    def read(self, segment: int) -> bytes:
        """See ``Store``."""
        return self._path(segment).read_bytes()

    def read_at(self, segment: int, start: int, size: int) -> bytes:
        """See ``Store``."""
        file = os.open(self._path(segment), os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(file, size, start)
        finally:
            os.close(file)

    def remove(self, segment: int) -> None:
        """See ``Store``."""
        self._path(segment).unlink()
        self._unsynced.discard(self._path(segment))

    def sync_later(self) -> Callable[[], None]:
        """A call that brings everything written so far to the disk itself; for another thread.

        It raises ``OSError``.
        """
        paths, self._unsynced = (
            self._unsynced,
            {self._path(self._number)} if self._number else set(),
        )
        return lambda: _sync([*paths, self._folder])

    def sync_all(self) -> None:
        """Bring all segments to the disk itself. Raises ``OSError``."""
        _sync([*(self._path(number) for number, _ in self.segments()), self._folder])

    def close(self) -> None:
        """Give up the producer: the next process may adopt it."""
        self._close_file()
        os.close(self._lock)

    def delete(self) -> None:
        """Remove the folder, which must hold no segment, and give up the producer."""
        self._close_file()
        with contextlib.suppress(OSError):
            self._folder.rmdir()
            _lock_path(self._folder).unlink()
        os.close(self._lock)

    def _switch_to(self, segment: int) -> None:
        self._close_file()
        path = self._path(segment)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o600)
        self._number, self._size = segment, os.fstat(self._file).st_size
        self._unsynced.add(path)

    def _close_file(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file, self._number = -1, 0

    def _path(self, segment: int) -> Path:
        return self._folder / f"{segment:08d}"


def prepare(root: Path) -> None:
    """Make the spool directory, private to this user. Raises ``ConfigError``."""
    make_private_folder(root)
    if not os.access(root, os.W_OK | os.X_OK):
        raise ConfigError(
            f"GATEWAY_SPOOL_DIR: {root} cannot be written",
            hint="name a folder on a disk of this machine",
        )


def create(root: Path, producer: bytes) -> FileStore:
    """The store of a new producer. Raises ``OSError``."""
    folder = root / producer.hex()
    lock = _try_lock(folder)
    if lock is None:
        raise FileExistsError(f"{folder} is another process's")
    try:
        folder.mkdir(mode=0o700)
        _sync([root])  # or a power failure could take the folder with everything synced in it
    except OSError:
        os.close(lock)
        raise
    return FileStore(folder, lock)


def adopt(root: Path) -> Iterator[FileStore]:
    """The stores of producers whose processes ended, now ours."""
    try:
        folders = sorted(path for path in root.iterdir() if _FOLDER.fullmatch(path.name))
    except OSError:
        return
    for folder in folders:
        lock = _try_lock(folder)
        if lock is None:
            continue
        if folder.is_dir():
            yield FileStore(folder, lock)
        else:  # its owner removed it meanwhile
            with contextlib.suppress(OSError):
                _lock_path(folder).unlink()
            os.close(lock)


def _lock_path(folder: Path) -> Path:
    return folder.with_name(folder.name + ".lock")


def _try_lock(folder: Path) -> int | None:
    try:
        lock = os.open(_lock_path(folder), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def _sync(paths: list[Path]) -> None:
    for path in paths:
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # it was pruned meanwhile
            continue
        try:
            os.fsync(file)
        finally:
            os.close(file)
