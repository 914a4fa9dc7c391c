"""One export from its beginning to its end; each returns what to tell the operator."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from accountd.ctl.exporting.choosing import FormatOf
from accountd.ctl.exporting.cursor import Cursor, Mark, only_export
from accountd.ctl.exporting.files import NewFile
from accountd.ctl.exporting.pages import Cut, Selection, begin, check_whole, pages, row_at
from accountd.ctl.exporting.rows import event_id
from shared.errors import RefusedError

_ONCE: Final = "begin with a new cursor, and take rows with the same event_id once"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows of which daemon, and how they are written."""

    endpoint: str
    selection: Selection
    format_of: FormatOf


def to_stdout(wanted: Wanted, *, after: int) -> str:
    """Rows after ``after``, to standard output."""
    cut = begin(wanted.endpoint, wanted.selection, after=after)

    def write(text: str) -> None:
        sys.stdout.write(text)

    count = _write(wanted, cut, write)
    return f"{count:,} rows; --after {cut.through} goes on from here"


def to_file(wanted: Wanted, output: Path, *, after: int) -> str:
    """Rows after ``after``, to a file."""
    cut = begin(wanted.endpoint, wanted.selection, after=after)
    with NewFile(output) as file:
        count = _write(wanted, cut, file.write)
        file.finish()
        file.publish()
    return f"{count:,} rows; --after {cut.through} goes on from here"


def export_new(wanted: Wanted, output: Path, cursor_path: Path, format_name: str) -> str:
    """What is new since the export before, to a file of its own.

    When that export was cut off at its end its file is finished first; asked for the same file
    again, that is all.
    """
    job = {"format": format_name, "accounts": sorted(wanted.selection.accounts)}
    with only_export(cursor_path):
        cursor = Cursor(cursor_path, job)
        recovered = cursor.recover()
        if recovered == output.absolute() and output.exists():
            return f"finished {output}, which was cut off; the next export has what is new since"
        is_gone = recovered is not None and not recovered.exists()
        gone = f"; {recovered}, which was complete, is no longer there" if is_gone else ""
        if output.exists():
            raise RefusedError(
                f"{output}: it is there already, and would lose its rows", hint="name a new file"
            )
        cut = begin(wanted.endpoint, wanted.selection, after=cursor.mark.row)
        _check_same(wanted.endpoint, cursor.mark, cut, cursor_path)
        at_end = row_at(wanted.endpoint, cut.through)
        mark = Mark(cut.through, event_id(at_end) if at_end else "", cut.ledger, cut.history)
        with NewFile(output) as file:
            count = _write(wanted, cut, file.write)
            file.finish()
            cursor.publish(file, mark)
        return f"{count:,} rows; the cursor is after row {cut.through}{gone}"


def _check_same(endpoint: str, mark: Mark, cut: Cut, cursor_path: Path) -> None:
    """It is the ledger of the export before, which has not gone back to an older state since, and
    the row where that ended is the same still, unless it is in an archive.
    """
    if mark.ledger not in ("", cut.ledger):
        raise RefusedError(
            f"{cursor_path}: found the cursor of ledger {mark.ledger}, and this is {cut.ledger}",
            hint="begin with a new cursor",
        )
    if mark.ledger and mark.history != cut.history:
        raise RefusedError(
            f"{cursor_path}: the ledger was restored since, and its rows may be in another order",
            hint=_ONCE,
        )
    row = row_at(endpoint, mark.row)
    if row is not None and event_id(row) != mark.event_id:
        raise RefusedError(
            f"{cursor_path}: row {mark.row} was {mark.event_id} and is {event_id(row)}: the ledger"
            " was restored from an older copy",
            hint=_ONCE,
        )


def _write(wanted: Wanted, cut: Cut, write: Callable[[str], None]) -> int:
    """Write all rows; returns how many there are."""
    count, form = 0, wanted.format_of(cut.ledger)
    write(form.head)
    for page in pages(wanted.endpoint, wanted.selection, cut):
        write(form.text(page))
        count += len(page)
    check_whole(wanted.endpoint, wanted.selection, cut)
    return count
