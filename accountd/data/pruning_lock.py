"""What excludes ``accountd prune``, which runs beside the daemon and does not hold its lock.

Two prunes exclude each other, and so do one and a command that replaces or migrates the file.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import AlreadyRunningError


@contextmanager
def pruning_excluded(path: Path) -> Iterator[None]:
    """Hold ``<path>.pruning.lock``; raises ``AlreadyRunningError`` or an ``OSError``."""
    lock_path = path.with_name(f"{path.name}.pruning.lock")
    descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise AlreadyRunningError(
                f"accountd prune, or a command that replaces the file, works on {path}",
                hint="wait until it has ended",
            ) from exc
        yield
    finally:
        os.close(descriptor)
