"""Files that are there whole, or not at all: written beside their place, then renamed.

Whatever ends the program leaves the place as it was, and at most ``FILE.part`` beside it, which the
next one replaces.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from shared.errors import RefusedError, StorageError

PART: Final = ".part"


@contextmanager
def reporting(path: Path) -> Iterator[None]:
    """An error of the disk names the file."""
    try:
        yield
    except OSError as exc:
        raise StorageError(
            f"{path}: {exc.strerror or exc}", hint="nothing was exported; mend it, then try again"
        ) from exc


class NewFile:
    """A text that becomes the file ``path`` with ``publish``, which follows ``finish``.

    As a context it removes what was not published, unless it is to be kept.
    """

    def __init__(self, path: Path) -> None:
        if path.exists() and not path.is_file():
            raise RefusedError(f"{path}: expected a file or nothing, found something else")
        self.path, self.part = path, part_of(path)
        self.is_kept = False
        self._digest = hashlib.sha256()
        with reporting(path):
            self._file = _open_alone(self.part)

    @property
    def digest(self) -> str:
        """Of all that was written."""
        return self._digest.hexdigest()

    def write(self, text: str) -> None:
        """Add ``text``."""
        data = text.encode()
        self._digest.update(data)
        with reporting(self.path):
            self._file.write(data)

    def finish(self) -> None:
        """All of it is on the disk."""
        with reporting(self.path):
            self._file.flush()
            os.fsync(self._file.fileno())
            _sync_folder(self.part)

    def publish(self) -> None:
        """Give it its name, in place of what has it."""
        with reporting(self.path):
            move(self.part, self.path)

    def __enter__(self) -> "NewFile":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with reporting(self.path):
            if kind is not None and not self.is_kept:
                self.part.unlink(missing_ok=True)
            self._file.close()


def part_of(path: Path) -> Path:
    """Where a file is written before it has its name."""
    return path.with_name(f"{path.name}{PART}")


def move(source: Path, target: Path) -> None:
    """Rename a file within a folder, durably."""
    source.replace(target)
    _sync_folder(target)


def locked(path: Path) -> IO[bytes]:
    """The file ``path``, made where it is not there, as long as it is open nobody else's."""
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise RefusedError(f"{path}: another export is at it") from None
    return file


def _sync_folder(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _open_alone(path: Path) -> IO[bytes]:
    """The empty file ``path``, which no other export writes."""
    while True:
        file = locked(path)
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            file.truncate()
            return file
        file.close()  # it was published meanwhile
