"""The cursor of a job that exports what is new, into a file of its own each time.

Every row is in exactly one of the files, whoever is killed: before a file gets its name, the cursor
says which file that is (``pending``) and up to which row it goes. Who finds that finishes it first.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from accountd.ctl.exporting.files import NewFile, locked, move, part_of, reporting
from shared.errors import RefusedError

_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Mark:
    """Where an export ended: the last row of which ledger, and its name, empty if it has none.

    ``history``: of the ledger's rows then; empty where it had not gone back to an older state.
    """

    row: int = 0
    event_id: str = ""
    ledger: str = ""
    history: str = ""


@dataclass(frozen=True, slots=True)
class Pending:
    """A file that is complete, and may have its name or not; ``mark`` is what comes after it."""

    file: str
    digest: str
    mark: Mark


@dataclass(frozen=True, slots=True)
class _State:
    job: Mapping[str, Any]
    mark: Mark
    pending: Pending | None = None


class Cursor:
    """Where a job is, in the file ``path``."""

    def __init__(self, path: Path, job: Mapping[str, Any]) -> None:
        self._path = path
        self._state = _read(path, job)
        if self._state.job != job:
            raise RefusedError(
                f"{path}: found the cursor of {json.dumps(self._state.job)}, expected that of"
                f" {json.dumps(job)}",
                hint="each export has a cursor of its own",
            )

    @property
    def mark(self) -> Mark:
        """After which row the next export begins."""
        return self._state.mark

    def recover(self) -> Path | None:
        """Finish the file of an export that was cut off at its end, and return it.

        One that is not there then had its name, and somebody has taken it away.
        """
        pending = self._state.pending
        if pending is None:
            return None
        path = Path(pending.file)
        with reporting(path):
            part = part_of(path)
            if part.exists() and _digest_of(part) == pending.digest:
                move(part, path)
        self._write(replace(self._state, mark=pending.mark, pending=None))
        return path

    def publish(self, file: NewFile, mark: Mark) -> None:
        """Give a finished file its name, and move on to ``mark``."""
        file.is_kept = True
        pending = Pending(str(file.path.absolute()), file.digest, mark)
        self._write(replace(self._state, pending=pending))
        file.publish()
        self._write(replace(self._state, mark=mark, pending=None))

    def _write(self, state: _State) -> None:
        with NewFile(self._path) as file:
            file.write(json.dumps({"version": _VERSION, **asdict(state)}, indent=1) + "\n")
            file.finish()
            file.publish()
        self._state = state


@contextmanager
def only_export(path: Path) -> Iterator[None]:
    """No other export has this cursor meanwhile."""
    with reporting(path):
        lock = locked(path.with_name(f"{path.name}.lock"))
    with lock:
        yield


def _read(path: Path, job: Mapping[str, Any]) -> _State:
    try:
        found = json.loads(path.read_bytes())
        if found["version"] != _VERSION:
            raise ValueError(found["version"])
        pending = found["pending"]
        return _State(
            found["job"],
            Mark(**found["mark"]),
            pending and Pending(**{**pending, "mark": Mark(**pending["mark"])}),
        )
    except FileNotFoundError:
        return _State(job, Mark())
    except OSError as exc:
        raise RefusedError(f"{path}: {exc.strerror}") from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise RefusedError(
            f"{path}: found no cursor of an export",
            hint="name another file, or put back the one that was there",
        ) from exc


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
