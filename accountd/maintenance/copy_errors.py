"""What an operator is told when a copy of the database cannot be made."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from accountd.data import database
from shared.errors import (
    ConfigError,
    DatabaseUnusableError,
    NotNowError,
    OperatorError,
    StorageError,
    cause_of,
)

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN: Final = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextlib.contextmanager
def copy_errors(source: Path, copy: Path, *, outcome: str) -> Iterator[None]:
    """Raise an ``OperatorError`` for what fails while ``source`` is copied to ``copy``.

    ``outcome``: what that leaves, for its message: "no backup was made".
    """
    try:
        yield
    except OperatorError as exc:
        if outcome not in str(exc):
            exc.hint = f"{exc.hint}; {outcome}" if exc.hint else outcome
        raise
    except Exception as exc:
        failure = _failure(exc, source, copy, outcome)
        if failure is None:
            raise
        raise failure from exc


def _failure(exc: Exception, source: Path, copy: Path, outcome: str) -> OperatorError | None:
    name = database.error_name(exc)
    number = exc.errno if isinstance(exc, OSError) else None
    if number in _FULL or name == "SQLITE_FULL":
        return NotNowError(
            f"the disk under {copy} is full, {outcome}",
            hint="free some space, or name a file on another disk",
        )
    if number in _FORBIDDEN:
        where = getattr(exc, "filename", None) or copy
        return ConfigError(
            f"{where}: {cause_of(exc)}, {outcome}", hint="let this user read and write there"
        )
    if number == errno.EEXIST:
        return NotNowError(f"{copy} is being made by another process, {outcome}")
    if number is not None or name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN")):
        return StorageError(
            f"I/O error while {source} was copied to {copy} ({name or cause_of(exc)}), {outcome}",
            hint="check both disks, then run this again",
        )
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return DatabaseUnusableError(
            f"the copy of {source} is damaged ({name}), {outcome}",
            hint="run accountd verify, which says what is wrong",
        )
    failure = database.translate(exc, source)
    if failure is not None:
        failure.hint = f"{failure.hint}; {outcome}"
    return failure
