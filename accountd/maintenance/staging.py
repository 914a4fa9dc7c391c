"""What ``restore`` and ``rekey`` have in common: files that are made beside those in use, proven,
and then take their places in one step, or are thrown away.
"""

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlcipher3 import dbapi2 as sqlcipher

from accountd.data import database, private_copy, swap, unopenable
from accountd.data.disk_errors import disk_error
from accountd.data.swap import Plan, Replacement
from shared.errors import DatabaseUnusableError, OperatorError, StorageError

Tell = Callable[[str, float | None], None]
"""Is told what is being done, and which share of it; None: so much as before, time passes."""

_PROBLEMS_SHOWN_MAX: Final = 3
_NOTHING: Final = "nothing was changed"


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
    except OperatorError as exc:
        exc.hint = _with_outcome(exc.hint, path)
        raise
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
        except private_copy.DamagedLogError as exc:
            raise DatabaseUnusableError(
                f"the write-ahead log of {named} is damaged: {exc}",
                hint="start accountd, which keeps the log and has usage sent again; then run this",
            ) from None


def check_source(connection: Any, *, named: Path, tell: Tell) -> None:
    """Raise where the file of which this is a copy has a damaged page."""
    tell(f"reading every page of {named.name}", 0.0)
    problems = [str(row[0]) for row in connection.execute("PRAGMA cipher_integrity_check")]
    if problems:
        raise DatabaseUnusableError(
            f"{named} is damaged: {'; '.join(problems[:_PROBLEMS_SHOWN_MAX])}",
            hint="restore it from a backup: accountd restore",
        )


def prove(replacement: Replacement, key: str, *, named: Path, tell: Tell) -> None:
    """Read every page of a staged file through a new connection, or raise ``StorageError``."""
    tell(f"reading every page of the new {replacement.target.name}", 0.0)
    try:
        with private_copy.opened(replacement.staged, key) as connection:
            rows = [
                *connection.execute("PRAGMA cipher_integrity_check"),
                *connection.execute("PRAGMA integrity_check"),
            ]
        problems = [str(row[0]) for row in rows if row[0] != "ok"]
    except (private_copy.WrongKeyError, sqlcipher.Error) as exc:
        problems = [str(exc)]
    if problems:
        raise StorageError(
            f"the copy of {named} was not written as it should: {problems[0]}",
            hint="check the disk",
        )


def _with_outcome(hint: str, path: Path) -> str:
    """``hint``, with what became of the files."""
    outcome = _outcome(path)
    return hint if outcome in hint else f"{hint}; {outcome}"


def _outcome(path: Path) -> str:
    if swap.is_unfinished(path):
        return (
            "the new files are complete; the next start of accountd puts them in place, as does"
            " the next command for this database"
        )
    return _NOTHING


def _failure(exc: Exception, path: Path) -> OperatorError | None:
    """What an operator is told; None for a bug of ours."""
    if isinstance(exc, OSError):
        return disk_error(exc, path, then=_outcome(path))
    failure = database.translate(exc, path)
    if failure is not None:
        failure.hint = _with_outcome(failure.hint, path)
    return failure
