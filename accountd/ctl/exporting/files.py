"""Files that are there whole, or not at all: written beside their place, then renamed.

Whatever ends the program leaves the place as it was, and at most ``FILE.part`` beside it, which the
next one replaces.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO

from shared.errors import RefusedError, StorageError


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

    As a context it removes what was not published.
    """

    def __init__(self, path: Path) -> None:
        if path.exists() and not path.is_file():
            raise RefusedError(f"{path}: expected a file or nothing, found something else")
        self.path, self.part = path, path.with_name(f"{path.name}.part")
        with reporting(path):
            self._file: IO[str] = _open_alone(self.part)

    def write(self, text: str) -> None:
        """Add ``text``."""
        with reporting(self.path):
            self._file.write(text)

    def finish(self) -> None:
        """All of it is on the disk."""
        with reporting(self.path):
            self._file.flush()
            os.fsync(self._file.fileno())

    def publish(self) -> None:
        """Give it its name, in place of what has it."""
        with reporting(self.path):
            move(self.part, self.path)

    def __enter__(self) -> "NewFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with reporting(self.path):
            if kind is not None and self.part.exists():
                self.part.unlink()
            self._file.close()


def move(source: Path, target: Path) -> None:
    """Rename a file within a folder, durably."""
    source.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _open_alone(path: Path) -> IO[str]:
    """The empty file ``path``, which no other export writes."""
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "w", newline="")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise RefusedError(f"{path}: another export is writing it") from None
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            file.truncate()
            return file
        file.close()  # it was published meanwhile
