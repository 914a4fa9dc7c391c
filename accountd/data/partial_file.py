"""Files that are being made: under a hidden name, locked, and removed unless they got their own.

A process that is killed leaves its file; the next one in that folder removes what nobody locks.
Close all connections to the file first: its descriptor is closed last (``data.snapshot`` says why).
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from accountd.data import snapshot


@contextlib.contextmanager
def partial_file(destination: Path, end: str) -> Iterator[Path]:
    """A new file beside ``destination``, of mode 0600, whose name ends with ``end``. Rename it.

    Raises ``OSError``; ``FileExistsError`` while another process makes the same.
    """
    remove_leftovers(destination.parent, end)
    partial = destination.with_name(f".{destination.name}{end}")
    descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield partial
    finally:
        try:
            _remove(partial)
        finally:
            os.close(descriptor)


def remove_leftovers(folder: Path, end: str) -> None:
    """Remove what killed processes left; what is being made stays, and what is another user's."""
    for path in folder.glob(f".*{end}"):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path)
            finally:
                os.close(descriptor)


def _remove(path: Path) -> None:
    snapshot.discard_companions(path)
    path.unlink(missing_ok=True)
