"""The spool directory: one folder for every producer, locked by the process that owns it.

::

    GATEWAY_SPOOL_DIR/<producer in hex>/            flock'ed by its owner; the kernel unlocks it
    GATEWAY_SPOOL_DIR/<producer in hex>/00000001    segments, see gateway/delivery/journal_format.py
    GATEWAY_SPOOL_DIR/<producer in hex>/reserve     space that is freed when the disk is full

The lock is on the folder itself, and a folder gets its name only after it is locked. So a folder
whose lock is free belongs to a process that has ended, and the process that gets the lock adopts
it. Called by ``spool_manager`` and ``orphans``; ``FileStore`` is the ``segments.Store`` of a
journal.
"""

import contextlib
import errno
import fcntl
import os
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.limits import SPOOL_RESERVE_BYTES
from shared.errors import ConfigError
from shared.wire import PRODUCER_BYTES
from shared.zmq_sockets import make_private_folder

_FOLDER: Final = re.compile(rf"[0-9a-f]{{{2 * PRODUCER_BYTES}}}")
_RESERVE: Final = "reserve"
_SEGMENT: Final = re.compile(r"[0-9]{8}")


@dataclass(frozen=True, slots=True)
class SpoolUnusable:
    """A folder of the spool that cannot be opened, and why."""

    folder: Path
    error: OSError


class FileStore:
    """The segments of one producer as files. It holds the folder's lock until ``close``."""

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
        """See ``Store``. What was written before the disk was full is truncated again."""
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
        if segment == self._number:
            self._close_file()
        self._path(segment).unlink()
        self._unsynced.discard(self._path(segment))

    def hold_reserve(self) -> None:
        """Reserve space. Raises ``OSError`` unless as much again is free for writing."""
        path = self._folder / _RESERVE
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(file, 0, SPOOL_RESERVE_BYTES)
            disk = os.fstatvfs(file)
            if disk.f_bavail * disk.f_frsize < SPOOL_RESERVE_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            path.unlink()  # a partial reserve only takes space
            raise
        finally:
            os.close(file)

    def free_reserve(self) -> bool:
        """Free the reserved space for what must be written now; whether there was any."""
        try:
            (self._folder / _RESERVE).unlink()
        except OSError:
            return False
        return True

    def is_gone(self) -> bool:
        """Whether the folder, or the segment that is being written, was removed from outside."""
        try:
            found, ours = self._folder.stat(), os.fstat(self._lock)
            is_there = (found.st_ino, found.st_dev) == (ours.st_ino, ours.st_dev)
            return not is_there or (self._file >= 0 and not os.fstat(self._file).st_nlink)
        except OSError:
            return True

    def sync_later(self) -> Callable[[], None]:
        """A function that syncs (fsync) everything written so far; for another thread.

        It raises ``OSError``. What is written after this call is left to the next one.
        """
        paths, self._unsynced = (
            self._unsynced,
            {self._path(self._number)} if self._number else set(),
        )
        return lambda: _sync([*paths, self._folder])

    def sync_all(self) -> None:
        """Sync all segments and the folder. Raises ``OSError``."""
        _sync([*(self._path(number) for number, _ in self.segments()), self._folder])

    def close(self) -> None:
        """Unlock the folder: another process may adopt it."""
        self._close_file()
        os.close(self._lock)

    def delete(self) -> None:
        """Remove the folder, which must hold no segment, and unlock it."""
        self._close_file()
        self.free_reserve()
        with contextlib.suppress(OSError):
            self._folder.rmdir()
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
    unnamed = folder.with_name(f".{folder.name}")
    unnamed.mkdir(mode=0o700)
    lock = -1
    try:
        lock = _open_folder(unnamed)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unnamed.rename(folder)
        _sync([root])  # else a power failure may lose a folder whose files were synced
    except OSError:
        with contextlib.suppress(OSError):
            unnamed.rmdir()
        if lock >= 0:
            os.close(lock)
        raise
    return FileStore(folder, lock)


def adopt(root: Path, known: Collection[bytes]) -> Iterator[FileStore | SpoolUnusable]:
    """The stores of producers whose processes have ended, locked by us now; ``known`` are skipped.

    A folder that cannot be opened is returned too, as unusable: its usage is not charged until an
    operator has looked at it.
    """
    try:
        folders = sorted(path for path in root.iterdir() if _FOLDER.fullmatch(path.name))
    except OSError as exc:
        yield SpoolUnusable(root, exc)
        return
    for folder in folders:
        if bytes.fromhex(folder.name) in known:
            continue
        try:
            lock = _open_folder(folder)
        except FileNotFoundError:  # its owner removed it meanwhile
            continue
        except OSError as exc:
            yield SpoolUnusable(folder, exc)
            continue
        if _try_lock(lock) and _is_named(lock, folder):
            yield FileStore(folder, lock)
        else:
            os.close(lock)


def _open_folder(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _try_lock(lock: int) -> bool:
    """Try to lock; whether that succeeded. It does not while the owner lives."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_named(lock: int, folder: Path) -> bool:
    """Whether the locked folder is still at this path: its owner may have removed it meanwhile."""
    try:
        found, ours = folder.stat(), os.fstat(lock)
    except OSError:
        return False
    return (found.st_ino, found.st_dev) == (ours.st_ino, ours.st_dev)


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
