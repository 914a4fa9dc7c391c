"""Moves old usage rows into an archive, a portion at a time, beside the daemon or without it.

A portion is on the disk in the archive before one transaction of the ledger takes its rows out and
adds them to the sums that stay (``usage_summaries``, ``archived_spending``). That transaction
counts the portion, too: what an interrupted run archived and did not take out is the one portion
that the archive has more, and the next run removes it there and begins with it again.

Only rows of complete segments of the index move: the daemon has the others in memory. The last
segment stays in ``usage_segments``, so that the number of a row is never used again.
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from accountd.data.archive_file import (
    NAMES,
    ROW_COLUMNS,
    Archive,
    Portion,
    create_archive,
    open_archive,
)
from accountd.data.database import transaction
from accountd.data.models import in_sql
from accountd.data.snapshots import reading_lock
from accountd.ledger.decision import MAY_OVERLAP, OVERLAP_MS
from accountd.reports.period import DAY_MS
from accountd.times import iso_of_ms
from shared.errors import DatabaseUnusableError
from shared.usage import USAGE_FIELDS

# Rows of a portion: its transaction holds usage up for some 20 ms.
PORTION_ROWS: Final = 4_096
# How long a portion waits for reports at most, and between two looks.
REPORT_S: Final = 60.0
LOOK_S: Final = 0.02

SUMMED: Final = (
    "responses", "topup_deducted", "token_deducted", "waived", *USAGE_FIELDS,
)  # fmt: skip
_THESE: Final = "u.id BETWEEN :first AND :last AND u.metered_at < :before"
_PARTS: Final = """
    SELECT number, first_row, last_row FROM usage_segments
    WHERE metered_from < ? ORDER BY number
"""
_READ: Final = f"""
    SELECT {", ".join(f"u.{name}" for name in ROW_COLUMNS)}, o.key
    FROM usage u LEFT JOIN usage_of_keys o ON o.id = u.id
    WHERE {_THESE} ORDER BY u.id LIMIT :limit
"""  # noqa: S608 - constants only
_ADD_SUMMARY: Final = f"""
    INSERT INTO usage_summaries
        (account, day, label, is_charged, archive, rows, metered_at, {", ".join(SUMMED)})
    SELECT account, day, label, is_charged, :archive, rows, metered_at, {", ".join(SUMMED)}
    FROM (
        SELECT u.account, u.metered_at / {DAY_MS} AS day, u.label,
               NOT (u.is_estimate AND u.topup_deducted = 0 AND u.token_deducted = 0) AS is_charged,
               count(*) AS rows, max(u.metered_at) AS metered_at,
               {", ".join(f"sum(u.{name}) AS {name}" for name in SUMMED)}
        FROM usage u WHERE {_THESE} GROUP BY 1, 2, 3, 4
    ) WHERE true
    ON CONFLICT DO UPDATE SET rows = rows + excluded.rows,
        metered_at = max(metered_at, excluded.metered_at),
        {", ".join(f"{name} = {name} + excluded.{name}" for name in SUMMED)}
"""  # noqa: S608 - constants only
_ADD_SPENT: Final = f"""
    INSERT INTO archived_spending (key, day, archive, credits)
    SELECT o.key, u.metered_at / {DAY_MS}, :archive, sum(u.topup_deducted + u.token_deducted)
    FROM usage_of_keys o JOIN usage u ON u.id = o.id
    WHERE {_THESE} GROUP BY 1, 2
    ON CONFLICT DO UPDATE SET credits = credits + excluded.credits
"""  # noqa: S608 - constants only
_DELETE: Final = (
    f"DELETE FROM usage_of_keys WHERE id IN (SELECT u.id FROM usage u WHERE {_THESE})",  # noqa: S608
    "DELETE FROM usage_entries WHERE segment = :segment AND id BETWEEN :first AND :last"
    " AND metered_at < :before",
    f"DELETE FROM usage AS u WHERE {_THESE}",  # noqa: S608 - constants only
)
_COUNT: Final = (
    "UPDATE archives SET portions = portions + 1, rows = rows + :rows WHERE number = :archive"
)
_FORGET_SEGMENT: Final = """
    DELETE FROM usage_segments
    WHERE number = :segment AND number < (SELECT max(number) FROM usage_segments)
      AND NOT EXISTS (SELECT 1 FROM usage u WHERE u.id BETWEEN first_row AND last_row)
"""
_UNSETTLED: Final = f"""
    SELECT count(*) FROM rejected_usage
    WHERE reason IN {in_sql(MAY_OVERLAP)}
      AND retried_at IS NULL AND dismissed_at IS NULL AND received_at < ?
"""  # noqa: S608 - constants only

_REGISTER: Final = """
    INSERT INTO archives (archive_id, file, before_ms, began_at) VALUES (?, ?, ?, ?)
    ON CONFLICT (archive_id) DO NOTHING
"""
UNKNOWN: Final = (
    "the ledger knows no such archive: it is another one's, or the ledger was restored from before"
)
KNOWN: Final = "SELECT number, portions FROM archives WHERE archive_id = ?"
_BEGIN: Final = """
    UPDATE archives SET file = ?, before_ms = max(before_ms, ?), ended_at = NULL WHERE number = ?
"""
_LEAVE_OTHERS: Final = "UPDATE archives SET ended_at = ? WHERE ended_at IS NULL AND number <> ?"
_BEGIN_ANOTHER: Final = "name a new file: --archive NEWFILE --begin-anew"

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be moved: rows metered before ``before_ms``, a UTC day's begin, to ``path``.

    ``leaves_unfinished``: archives of interrupted runs are not gone on with any more.
    """

    before_ms: int
    path: Path
    key: str
    leaves_unfinished: bool = False


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was done; ``rows`` of this run, and of the archive."""

    path: Path
    rows: int
    rows_of_archive: int


def unfinished(ledger: Any) -> Path | None:
    """The archive of a run that was interrupted."""
    row = ledger.execute("SELECT file FROM archives WHERE ended_at IS NULL").fetchone()
    return Path(row[0]) if row else None


def count_rows(ledger: Any, before_ms: int) -> int:
    """How many rows would move."""
    (last,) = ledger.execute("SELECT coalesce(max(last_row), 0) FROM usage_segments").fetchone()
    statement = "SELECT count(*) FROM usage WHERE id <= ? AND metered_at < ?"
    (count,) = ledger.execute(statement, (last, before_ms)).fetchone()
    return int(count)


def check_settled(ledger: Any, before_ms: int) -> None:
    """Raise ``DatabaseUnusableError`` where messages in quarantine may concern rows that move."""
    received_before = iso_of_ms(before_ms + OVERLAP_MS)
    (count,) = ledger.execute(_UNSETTLED, (received_before,)).fetchone()
    if count:
        raise DatabaseUnusableError(
            f"{count} messages in quarantine came before {received_before[:10]}: whether they were"
            " charged says a row that would move",
            hint="accountctl rejected list; then retry or dismiss each of them",
        )


def prune(ledger: Any, database: Path, order: Order, *, now: str, progress: Progress) -> Pruned:
    """Move the rows. ``ledger`` is a connection to ``database`` that may write; ``progress`` hears
    how many rows have moved, and of how many.
    """
    total, moved = count_rows(ledger, order.before_ms), 0
    if not total and not order.path.exists():
        return Pruned(order.path, 0, 0)
    with (
        _archive(ledger, order, now=now) as (archive, number),
        _reports_seen(database) as lock,
    ):
        for segment, portion in _portions(ledger, order.before_ms):
            archive.add(portion)
            _wait_for_reports(lock)
            _take_out(ledger, portion, order.before_ms, segment=segment, archive=number)
            moved += len(portion.rows)
            progress(moved, max(total, moved))
        ledger.execute("UPDATE archives SET ended_at = ? WHERE number = ?", (now, number))
        (rows,) = ledger.execute("SELECT rows FROM archives WHERE number = ?", (number,)).fetchone()
        return Pruned(archive.path, moved, int(rows))


def _portions(ledger: Any, before_ms: int) -> Iterator[tuple[int, Portion]]:
    for segment, first, last in ledger.execute(_PARTS, (before_ms,)).fetchall():
        asked = {"first": first, "last": last, "before": before_ms, "limit": PORTION_ROWS}
        while rows := ledger.execute(_READ, asked).fetchall():
            yield segment, Portion(rows, _names(ledger, rows))
            asked["first"] = rows[-1][0] + 1


def _names(ledger: Any, rows: list[tuple[Any, ...]]) -> dict[str, Sequence[tuple[Any, ...]]]:
    """The names that the numbers in ``rows`` stand for."""
    found = {}
    for table, (column, columns) in NAMES.items():
        at = len(ROW_COLUMNS) if column == "key" else ROW_COLUMNS.index(column)
        numbers = json.dumps(sorted({row[at] for row in rows if row[at]}))
        found[table] = ledger.execute(
            f"SELECT number, {', '.join(columns)} FROM {table}"  # noqa: S608 - names of ours
            " WHERE number IN (SELECT value FROM json_each(?))",
            (numbers,),
        ).fetchall()
    return found


def _take_out(ledger: Any, portion: Portion, before_ms: int, *, segment: int, archive: int) -> None:
    """Delete the rows and add them to the sums that stay, in one transaction."""
    these = {
        "first": portion.first, "last": portion.last, "before": before_ms, "segment": segment,
        "archive": archive, "rows": len(portion.rows),
    }  # fmt: skip
    with transaction(ledger):
        for statement in (_ADD_SUMMARY, _ADD_SPENT, *_DELETE):
            deleted = ledger.execute(statement, these).rowcount
        assert deleted == len(portion.rows), "rows are appended and never changed"
        ledger.execute(_COUNT, these)
        ledger.execute(_FORGET_SEGMENT, these)


@contextmanager
def _reports_seen(database: Path) -> Iterator[Any]:
    """The lock file that reports share while they read in portions."""
    path = reading_lock(database)
    with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "rb") as lock:
        try:
            yield lock
        finally:
            path.unlink(missing_ok=True)


def _wait_for_reports(lock: Any) -> None:
    """Return when no report is read in portions; one that lasts longer begins anew."""
    deadline = time.monotonic() + REPORT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(lock, fcntl.LOCK_UN)
            return
        time.sleep(LOOK_S)


@contextmanager
def _archive(ledger: Any, order: Order, *, now: str) -> Iterator[tuple[Archive, int]]:
    """The archive to go on with, or a new one, and its number in the ledger."""
    is_new = not order.path.exists()
    opened = (create_archive if is_new else open_archive)(order.path, order.key)
    with opened as archive:
        if is_new or not archive.portions:
            ledger.execute(_REGISTER, (archive.archive_id, str(order.path), order.before_ms, now))
        row = ledger.execute(KNOWN, (archive.archive_id,)).fetchone()
        if row is None:
            raise DatabaseUnusableError(
                f"{order.path} cannot be continued: {UNKNOWN}", hint=_BEGIN_ANOTHER
            )
        number, portions = row
        _agree(archive, portions)
        begun = (str(order.path), order.before_ms, number)
        if order.leaves_unfinished:
            ledger.execute(_LEAVE_OTHERS, (now, number))
        ledger.execute(_BEGIN, begun)
        yield archive, int(number)


def _agree(archive: Archive, portions: int) -> None:
    """Remove the portion whose rows are in the ledger still; raises ``DatabaseUnusableError``."""
    if archive.portions == portions + 1:
        archive.forget_last()
    if archive.portions != portions:
        raise DatabaseUnusableError(
            f"{archive.path} has {archive.portions} portions, and the ledger knows of {portions}:"
            " one of them is an older copy",
            hint=_BEGIN_ANOTHER,
        )
