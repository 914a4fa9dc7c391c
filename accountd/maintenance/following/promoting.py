"""``accountd promote``: makes a standby the primary."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from accountd.data import database, lock_file, standby_role
from accountd.data.disk_errors import disk_error
from accountd.data.standby.log import StandbyLog
from accountd.data.standby_role import Role, State
from accountd.ledger.expectations import begin_history
from accountd.maintenance.following.follower import read_status
from accountd.maintenance.following.receiving import finish_swap
from shared.errors import (
    AlreadyRunningError,
    DatabaseUnusableError,
    NotNowError,
    RefusedError,
)

# How long a follower may take to end after SIGTERM, in s; it hears the primary out for 2 s.
_STOP_S: Final = 5.0
_WATERMARKS: Final = (
    "SELECT hex(producer), applied_through, last_seen_at FROM producers"
    " WHERE ended_at IS NULL ORDER BY last_seen_at DESC, producer LIMIT 20"
)
_COUNTS: Final = (
    "SELECT (SELECT count(*) FROM accounts), (SELECT coalesce(max(id), 0) FROM usage),"
    " (SELECT count(*) FROM credit_grants), (SELECT count(*) FROM producers),"
    " (SELECT created_at FROM credit_grants ORDER BY rowid DESC LIMIT 1),"
    " (SELECT coalesce(max(number), 0) FROM admin_changes)"
)


@dataclass(frozen=True, slots=True)
class Found:
    """What a database holds; the producers seen last, with the time."""

    accounts: int
    last_usage_row: int
    grants: int
    last_grant_at: str | None
    last_change: int
    producers: int
    watermarks: tuple[tuple[str, int, str], ...]


@dataclass(frozen=True, slots=True)
class Promotion:
    """What was promoted. Times are Unix times by the primary's clock, in s."""

    path: Path
    source: str
    complete_as_of: float | None
    last_lag_s: float | None
    frames: int
    found: Found
    is_fenced: bool
    seconds: float


def promote(path: Path, key: str, *, say: Callable[[str], None]) -> Promotion:
    """Stop the follower of ``path``, apply what it has, prove it, and make it a primary.

    Raises an ``OperatorError`` and changes nothing where that cannot be.
    """
    started = time.monotonic()
    role = _check(path)
    primary = Path(role.source) if role.source.startswith("/") else None
    _check_is_stopped(primary)
    _stop_follower(path, say)
    status = read_status(path)
    with contextlib.ExitStack() as held:
        held.enter_context(_errors_told(path))
        held.enter_context(database.locked(path))
        if primary is not None and primary.parent.is_dir():
            held.enter_context(_primary_lock(primary))
        finish_swap(path)
        log = StandbyLog(Path(f"{path}-wal"))
        frames = log.frames
        log.close()
        say(f"applying {frames:,} pages of the log")
        # A promotion that fails has applied a part of a log: a follower copies anew after that.
        standby_role.write(path, replace(role, folded=None))
        with database.open_at_newest(path, key) as opened:
            found = _prove(opened.database.connection(), path, frames, say)
        is_fenced = primary is not None and primary.exists()
        if is_fenced:
            assert primary is not None
            at = datetime.now(UTC).isoformat(timespec="seconds")
            standby_role.supersede(primary, by=path, at=at)
        standby_role.write(path, standby_role.promoted(role))
    as_of = status["complete_as_of"]
    written_at = status.get("written_at")
    lag = None if as_of is None or written_at is None else max(written_at - as_of, 0.0)
    return Promotion(
        path=path, source=role.source, complete_as_of=as_of, last_lag_s=lag, frames=frames,
        found=found, is_fenced=is_fenced, seconds=time.monotonic() - started,
    )  # fmt: skip


def as_json(found: Promotion) -> dict[str, Any]:
    """The same for programs."""
    return {**asdict(found), "path": str(found.path)}


def _check(path: Path) -> Role:
    role = standby_role.read(path)
    if role is None:
        raise RefusedError(f"{path} is no standby", hint="name the file that accountd follow keeps")
    if role.state is State.PROMOTED:
        raise RefusedError(f"{path} was promoted before", hint="run: accountd serve")
    if not role.has_base:
        raise RefusedError(
            f"{path} has never been a whole copy of {role.source}",
            hint="restore the newest backup, or let accountd follow finish",
        )
    return role


@contextlib.contextmanager
def _errors_told(path: Path) -> Iterator[None]:
    """Each step may be taken again: what was interrupted goes on from there."""
    with database.errors_translated(path):
        try:
            yield
        except OSError as exc:
            raise disk_error(exc, path, then="run this again: the promotion goes on") from exc


def _check_is_stopped(primary: Path | None) -> None:
    owner = None if primary is None else lock_file.owner(primary)
    if owner is not None:
        raise NotNowError(
            f"the primary {primary} is still open, by process {owner}",
            hint="stop it first: two primaries would charge the same usage twice",
        )


def _primary_lock(primary: Path) -> contextlib.AbstractContextManager[None]:
    return database.locked(primary)


def _stop_follower(path: Path, say: Callable[[str], None]) -> None:
    """Ask whoever follows into ``path`` to end, and wait until it has."""
    owner = lock_file.owner(path)
    if owner is None:
        return
    if owner:
        say(f"stopping the follower, process {owner}")
        with contextlib.suppress(ProcessLookupError):
            os.kill(owner, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_S
    while lock_file.owner(path) is not None:
        if time.monotonic() > deadline:
            raise AlreadyRunningError(
                f"process {owner} does not let go of {path}", hint="end it, and promote again"
            )
        time.sleep(0.02)


def _prove(connection: Any, path: Path, frames: int, say: Callable[[str], None]) -> Found:
    """Apply the log, and look at every page."""
    _, logged, _ = connection.execute("PRAGMA wal_checkpoint(NOOP)").fetchone()
    if max(logged, 0) != frames:
        raise DatabaseUnusableError(
            f"of {path}-wal SQLite applies {logged} pages, expected {frames}",
            hint="keep the files, and restore the newest backup",
        )
    # As a daemon leaves it: the file is whole without a log.
    connection.execute("UPDATE custody SET is_open = 0")
    begin_history(connection)  # usage that it lacks comes again
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    say("checking every page")
    problems = [row[0] for row in connection.execute("PRAGMA cipher_integrity_check")]
    if problems:
        raise DatabaseUnusableError(
            f"{path} is damaged: {problems[0]}", hint="restore the newest backup"
        )
    accounts, usage, grants, producers, last_grant, change = connection.execute(_COUNTS).fetchone()
    watermarks = tuple(tuple(row) for row in connection.execute(_WATERMARKS))
    return Found(accounts, usage, grants, last_grant, change, producers, watermarks)
