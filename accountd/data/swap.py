"""Replaces several files together: whenever the process is killed or the power fails, all of them
are old or all of them are new, once ``finish`` has been called.

``swap`` takes complete files that are staged beside those which they replace, and writes what it is
about to do to an intent, ``<database>.swap``. ``finish`` carries an intent out, from any point at
which it was interrupted. Whoever takes the database's lock calls it before looking at the file.
What is replaced is renamed to ``<file>.replaced-<time>`` with its write-ahead log and its rollback
journal, and never deleted: an old log beside a new database would be applied to it.

The order, for a power failure (a rename is atomic; it is durable once its folder is synced):

1. Each staged file is synced, then its folder: what the intent names is whole and has its name.
2. The intent is written under another name, synced, renamed, and its folder is synced. From here on
   the outcome is the new files. Nothing was renamed before, so without an intent all is old.
3. Each target that has a staged file is set aside with its companions, and the folders are synced.
   No staged file has its final name before this: else the new name could be durable and the old
   file's second name not, and the old file would be lost.
4. Each staged file is renamed to its target, and the folders are synced. A target without a staged
   file is therefore done, however often ``finish`` is begun.
5. The intent is removed, and its folder is synced. An intent that comes back finds nothing to do.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from shared.errors import DatabaseUnusableError

_VERSION: Final = 1
# What SQLite keeps beside a database and applies to it; the index of the log is made anew.
_COMPANIONS: Final = ("-wal", "-journal")
_INDEX: Final = "-shm"
_STAMP: Final = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class Replacement:
    """``staged`` becomes ``target``. Both are on one file system."""

    staged: Path
    target: Path


@dataclass(frozen=True, slots=True)
class Plan:
    """What is replaced together, and which files are only set aside."""

    replacements: tuple[Replacement, ...]
    removed: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class _Intent:
    """A plan with the time that is in the names of the files set aside."""

    plan: Plan
    stamp: str


def staging_path(target: Path) -> Path:
    """Where the file that replaces ``target`` is made: beside the file itself, not beside a link
    to it.
    """
    return _with_suffix(_real(target), ".staged")


def discard(staged: Path) -> None:
    """Remove a staged file and what SQLite left beside it; none of them needs to be there."""
    for suffix in ("", *_COMPANIONS, _INDEX):
        _with_suffix(staged, suffix).unlink(missing_ok=True)


def swap(path: Path, plan: Plan, *, now: datetime) -> tuple[Path, ...]:
    """Carry ``plan`` out; the files that were set aside. ``now`` is in UTC and goes in their names.

    ``path`` is the database, whose lock the caller holds. An ``OSError`` before the intent is
    there leaves everything as it was; after that (``is_unfinished``), the next ``finish`` does the
    rest.
    """
    assert not is_unfinished(path), "finish comes first"
    plan = Plan(
        tuple(Replacement(_real(r.staged), _real(r.target)) for r in plan.replacements),
        tuple(_real(target) for target in plan.removed),
    )
    for replacement in plan.replacements:
        left = [s for s in (*_COMPANIONS, _INDEX) if _with_suffix(replacement.staged, s).exists()]
        assert not left, f"{replacement.staged} is still open: {left}"
        _sync(replacement.staged)
    _sync_folders(r.staged for r in plan.replacements)
    _write_intent(_intent_path(path), _Intent(plan, _unused_stamp(plan, now)))
    return finish(path)


def is_unfinished(path: Path) -> bool:
    """Whether files of the database at ``path`` were about to be replaced."""
    return os.path.exists(_intent_path(path))


def finish(path: Path) -> tuple[Path, ...]:
    """Replace what an interrupted ``swap`` was to replace; the files set aside by this call.

    Does nothing where there is no intent. The caller holds the database's lock. Raises ``OSError``,
    after which it may be called again, and ``DatabaseUnusableError`` for a damaged intent.
    """
    intent_path = _intent_path(path)
    try:
        text = intent_path.read_bytes()
    except FileNotFoundError:
        return ()
    intent = _parse(intent_path, text)
    _sync(intent_path.parent)
    kept = _set_aside(intent)
    _place(intent.plan)
    intent_path.unlink()
    _sync(intent_path.parent)
    return kept


def _set_aside(intent: _Intent) -> tuple[Path, ...]:
    """Step 3. Only what is not replaced yet: afterwards the name is that of the new file."""
    plan = intent.plan
    kept = []
    for target in [*(r.target for r in plan.replacements if r.staged.exists()), *plan.removed]:
        aside = _aside(target, intent.stamp)
        if target.exists():  # else it is there already, and a power failure left its companions
            aside = _free(aside)
        # The file last: what somebody puts in its place before ``finish`` has no companion here.
        for suffix in (*_COMPANIONS, ""):
            found = _with_suffix(target, suffix)
            if found.exists():
                kept.append(found.rename(_free(_with_suffix(aside, suffix))))
        _with_suffix(target, _INDEX).unlink(missing_ok=True)
    _sync_folders([*(r.target for r in plan.replacements), *plan.removed])
    return tuple(kept)


def _place(plan: Plan) -> None:
    """Step 4."""
    for replacement in plan.replacements:
        if replacement.staged.exists():
            replacement.staged.rename(replacement.target)
    _sync_folders(r.target for r in plan.replacements)


def _aside(target: Path, stamp: str) -> Path:
    return _with_suffix(target, f".replaced-{stamp}")


def _free(path: Path) -> Path:
    """``path``, or with a number where somebody has put a file there: none is overwritten."""
    number, found = 1, path
    while found.exists():
        number += 1
        found = _with_suffix(path, f".{number}")
    return found


def _unused_stamp(plan: Plan, now: datetime) -> str:
    """One that is in no name yet: an earlier replacement may have been in the same second."""
    targets = [*(r.target for r in plan.replacements), *plan.removed]
    number, stamp = 1, now.strftime(_STAMP)
    while any(_aside(target, stamp).exists() for target in targets):
        number += 1
        stamp = f"{now.strftime(_STAMP)}.{number}"
    return stamp


# --- the intent ----------------------------------------------------------------------------------


def _write_intent(path: Path, intent: _Intent) -> None:
    """Step 2."""
    value = {
        "version": _VERSION,
        "stamp": intent.stamp,
        "replacements": [[str(r.staged), str(r.target)] for r in intent.plan.replacements],
        "removed": [str(target) for target in intent.plan.removed],
    }
    partial = _with_suffix(path, ".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(value, file)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _parse(path: Path, text: bytes) -> _Intent:
    try:
        value: Any = json.loads(text)
        if value["version"] != _VERSION:
            raise ValueError
        return _Intent(
            Plan(
                tuple(Replacement(Path(s), Path(t)) for s, t in value["replacements"]),
                tuple(map(Path, value["removed"])),
            ),
            str(value["stamp"]),
        )
    except (ValueError, TypeError, KeyError) as exc:
        raise DatabaseUnusableError(
            f"{path}, which says how to finish a replacement of files, cannot be read",
            hint="look which of the files beside it are to be used, then move it away",
        ) from exc


def _intent_path(path: Path) -> Path:
    return _with_suffix(_real(path), ".swap")


# --- files ---------------------------------------------------------------------------------------


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _with_suffix(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _sync_folders(files: Iterable[Path]) -> None:
    for folder in {file.parent: None for file in files}:
        _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
