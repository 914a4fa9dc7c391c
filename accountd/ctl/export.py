"""Exports every usage row of an account: read page by page from the daemon, written at once.

A page is one bounded report. Rows come newest first, and each page begins below the id of the last
row before. Rows that are inserted meanwhile have higher ids, so they are not part of the export.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TextIO

from accountd.ctl.client import call
from accountd.ctl.tables import to_json

PAGE_ROWS: Final = 1_000
Row = Mapping[str, Any]


def rows(endpoint: str, params: Mapping[str, Any], first: Mapping[str, Any]) -> Iterator[Row]:
    """All rows, beginning with those of ``first``, the answer to ``usage`` for ``params``."""
    page, total, done = first, first["rows_total"], 0
    with Progress(total) as progress:
        while True:
            yield from page["rows"]
            done += len(page["rows"])
            progress.show(done)
            if page["next_before"] is None:
                return
            asked = {**params, "before": page["next_before"], "limit": PAGE_ROWS}
            page = call(endpoint, "usage.rows", asked)


def write_json_lines(found: Iterable[Row], out: TextIO) -> None:
    """Write one JSON object a line."""
    for row in found:
        out.write(to_json(row) + "\n")


def write_json(found: Iterable[Row], rest: Mapping[str, Any], out: TextIO) -> None:
    """Write one document: ``rest``, and last its ``rows``, which are never all in memory."""
    head = to_json(rest)
    out.write(head[:-1] + ', "rows": [')
    for number, row in enumerate(found):
        out.write((", " if number else "") + to_json(row))
    out.write("]}\n")


class Progress:
    """A line on a terminal that shows the progress and is erased at the end."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._is_shown = sys.stderr.isatty() and total > PAGE_ROWS

    def show(self, done: int) -> None:
        """Show that ``done`` rows were written."""
        if self._is_shown:
            sys.stderr.write(f"\r{done:,} of {self._total:,} rows")
            sys.stderr.flush()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_shown:
            sys.stderr.write("\r\x1b[K")
