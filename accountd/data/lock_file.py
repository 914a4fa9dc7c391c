"""The file whose lock makes one process the owner of a database, and which names that process."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path


def path_of(database: Path) -> Path:
    """The lock file of a database."""
    return database.with_name(database.name + ".lock")


def take(database: Path) -> int | None:
    """Lock the file; None when another process has it. Closing the descriptor gives it back.

    An ``OSError`` says that the file cannot be made.
    """
    descriptor = os.open(path_of(database), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    with suppress(OSError):  # on a full disk the lock is held all the same
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def owner(database: Path) -> int | None:
    """The process that holds the lock; 0 when it is not known which, None when nobody holds it."""
    try:
        descriptor = os.open(path_of(database), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        text = os.pread(descriptor, 20, 0).strip()
        return int(text) if text.isdigit() else 0
    else:
        return None
    finally:
        os.close(descriptor)
