"""What a database file is in a continuous copy, as files beside it say.

``<db>.standby`` stands beside a copy: it is not served before it was promoted. ``<db>.superseded``
stands beside a database whose copy was promoted: it is not served any more.
"""

import json
import os
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path

from shared.errors import DatabaseUnusableError


class State(Enum):
    """``copying``: the first copy is not whole. ``swapping``: a newer copy takes its place."""

    COPYING = "copying"
    FOLLOWING = "following"
    SWAPPING = "swapping"
    PROMOTED = "promoted"


@dataclass(frozen=True, slots=True)
class Role:
    """What ``<db>.standby`` says. ``folded``: the log that was applied last, to its end."""

    state: State
    source: str
    folded: tuple[int, int] | None = None

    @property
    def has_base(self) -> bool:
        """Whether the file is a whole copy."""
        return self.state is not State.COPYING


def read(path: Path) -> Role | None:
    """The role of the database at ``path``; None when it is nobody's copy."""
    place = _role_path(path)
    try:
        found = json.loads(place.read_text())
        folded = found["folded"]
        return Role(
            State(found["state"]), found["source"], (folded[0], folded[1]) if folded else None
        )
    except FileNotFoundError:
        return None
    except (ValueError, LookupError, TypeError, OSError) as exc:
        raise DatabaseUnusableError(
            f"{place} cannot be read", hint="remove the copy and its files, and follow again"
        ) from exc


def write(path: Path, role: Role) -> None:
    """Replace the role; it is on the disk afterwards."""
    text = json.dumps({**asdict(role), "state": role.state.value})
    _write_durably(_role_path(path), text)


def promoted(role: Role) -> Role:
    """The role of the same file as a primary."""
    return replace(role, state=State.PROMOTED)


def supersede(path: Path, *, by: Path, at: str) -> None:
    """Keep the database at ``path`` from being served again."""
    _write_durably(_superseded_path(path), json.dumps({"by": str(by), "at": at}))


def check_may_serve(path: Path) -> None:
    """Raise ``DatabaseUnusableError`` where serving would split the ledger in two."""
    role = read(path)
    if role is not None and role.state is not State.PROMOTED:
        raise DatabaseUnusableError(
            f"{path} is a standby of {role.source}", hint=f"run: accountd promote {path}"
        )
    place = _superseded_path(path)
    if place.exists():
        try:
            by = json.loads(place.read_text())["by"]
        except (ValueError, LookupError, TypeError, OSError):
            by = "another file"
        raise DatabaseUnusableError(
            f"{path} was superseded by {by}, its standby, which was promoted",
            hint=f"serve that one; if it is to be forgotten, remove {place}",
        )


def sync_folder(folder: Path) -> None:
    """Have what was renamed in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _role_path(path: Path) -> Path:
    return Path(f"{path}.standby")


def _superseded_path(path: Path) -> Path:
    return Path(f"{path}.superseded")


def _write_durably(place: Path, text: str) -> None:
    temporary = Path(f"{place}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(place)
    sync_folder(place.parent)
