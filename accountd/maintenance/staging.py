"""What ``restore`` and ``rekey`` have in common: files that are made beside those in use, proven,
and then take their places in one step, or are thrown away.
"""

import contextlib
import errno
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from accountd.data import database, private_copy, swap, unopenable
from accountd.data.swap import Plan, Replacement
from shared.errors import (
    ConfigError,
    DatabaseUnusableError,
    NotNowError,
    OperatorError,
    StorageError,
    cause_of,
)

Tell = Callable[[str, float | None], None]
"""Is told what is being done, and which share of it; None: so much as before, time passes."""

_PROBLEMS_SHOWN_MAX: Final = 3
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN: Final = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY)


@contextlib.contextmanager
def staged(path: Path, *targets: Path) -> Iterator[tuple[Replacement, ...]]:
    """Where the files that replace ``targets`` are to be made; they are thrown away at the end.

    The caller holds the lock of the database at ``path``. Raises an ``OperatorError`` that says
    whether something was changed.
    """
    replacements = tuple(Replacement(swap.staging_path(target), target) for target in targets)
    try:
        for replacement in replacements:
            swap.discard(replacement.staged)
        yield replacements
    except Exception as exc:
        failure = _failure(exc, path)
        if failure is None:
            raise
        raise failure from exc
    finally:
        if not swap.is_unfinished(path):  # else the staged files are those that will be used
            for replacement in replacements:
                with contextlib.suppress(OSError):
                    swap.discard(replacement.staged)


def exchange(
    path: Path, replacements: tuple[Replacement, ...], *, removed: tuple[Path, ...] = ()
) -> tuple[Path, ...]:
    """Let the staged files take their places; the files that were set aside."""
    return swap.swap(path, Plan(replacements, removed), now=datetime.now(UTC))


def copy(source: Path, replacement: Replacement, tell: Tell) -> None:
    """Copy ``source`` to where ``replacement`` is staged."""
    what = f"copying {source}"
    private_copy.copy(
        source, replacement.staged,
        lambda done, total: tell(what, done / total if total else 1.0),
    )  # fmt: skip


@contextlib.contextmanager
def opened(replacement: Replacement, key: str, *, named: Path) -> Iterator[Any]:
    """A connection to a staged database; errors are said of ``named``, of which it is a copy."""
    with database.errors_translated(named):
        try:
            with private_copy.opened(replacement.staged, key) as connection:
                yield connection
        except private_copy.WrongKeyError:
            raise unopenable.key_does_not_open(named, key) from None


def prove(replacement: Replacement, key: str, *, named: Path, tell: Tell) -> None:
    """Read every page of a staged file through a new connection, or raise."""
    tell(f"reading every page of the new {replacement.target.name}", 0.0)
    with opened(replacement, key, named=named) as connection:
        problems = [str(row[0]) for row in connection.execute("PRAGMA cipher_integrity_check")]
        problems += [
            str(row[0]) for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"
        ]
    if problems:
        raise DatabaseUnusableError(
            f"{named} is damaged: {'; '.join(problems[:_PROBLEMS_SHOWN_MAX])}",
            hint="restore a backup: accountd restore",
        )


def _failure(exc: Exception, path: Path) -> OperatorError | None:
    """What an operator is told; None for a bug of ours."""
    if isinstance(exc, OperatorError):
        return None
    is_begun = swap.is_unfinished(path)
    outcome = (
        "the new files are complete; the next start of accountd puts them in place, as does the"
        " next command for this database"
        if is_begun
        else "nothing was changed"
    )
    if isinstance(exc, OSError):
        where = f"{exc.filename or path}: {cause_of(exc)}"
        if exc.errno in _FULL:
            return NotNowError(where, hint=f"free some space; {outcome}")
        if exc.errno in _FORBIDDEN:
            return ConfigError(where, hint=f"let this user write there; {outcome}")
        return StorageError(where, hint=f"check the disk; {outcome}")
    failure = database.translate(exc, path)
    if failure is not None:
        failure.hint = f"{failure.hint}; {outcome}"
    return failure
