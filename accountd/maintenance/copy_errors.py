"""What an operator is told when a copy of the database cannot be made."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from accountd.data import database
from accountd.data.disk_errors import disk_error
from shared.errors import DatabaseUnusableError, NotNowError, OperatorError, StorageError


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
    if isinstance(exc, FileExistsError):
        return NotNowError(f"{copy} is being made by another process, {outcome}")
    if isinstance(exc, OSError):
        return disk_error(exc, copy, then=outcome)
    if name == "SQLITE_FULL":
        return NotNowError(f"the disk under {copy} is full", hint=f"free some space; {outcome}")
    if name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN")):
        return StorageError(
            f"I/O error while {source} was copied to {copy} ({name}), {outcome}",
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
