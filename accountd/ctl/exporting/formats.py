"""The formats of an export: the text of each page, which ends with a line. Pure."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

from accountd.ctl.exporting.cloud_events import event
from accountd.ctl.exporting.focus import Terms, columns_of
from accountd.ctl.exporting.rows import Row, event_id
from accountd.ctl.tables import to_json
from shared.csv_cells import cells
from shared.usage import USAGE_FIELDS

CSV_COLUMNS: Final = (
    "id", "event_id", "created_at", "account_id", "session_id", "provider", "model", "kind",
    "responses", *USAGE_FIELDS, "topup_deducted", "token_deducted", "credits", "waived",
    "rate_card", "unpriced",
)  # fmt: skip
BATCH_EVENTS_MAX: Final = 100  # about 100 kB: what HTTP servers take as they are


@dataclass(frozen=True, slots=True)
class Format:
    """How rows are written: ``head``, once, then ``text`` of each page."""

    head: str
    text: Callable[[Sequence[Row]], str]


def csv_format(columns: Mapping[str, Callable[[Row], Any]]) -> Format:
    """CSV (RFC 4180) with a header; ``columns`` say what each cell of a row is."""

    def lines(rows: Sequence[Row]) -> str:
        out = io.StringIO()
        csv.writer(out).writerows(cells(cell(row) for cell in columns.values()) for row in rows)
        return out.getvalue()

    return Format(",".join(columns) + "\r\n", lines)


def json_lines(value: Callable[[Row], Any]) -> Format:
    """One JSON value a line, ``value`` of each row."""
    return Format("", lambda rows: "".join(f"{to_json(value(row))}\n" for row in rows))


def _own_columns() -> dict[str, Callable[[Row], Any]]:
    return {name: event_id if name == "event_id" else itemgetter(name) for name in CSV_COLUMNS}


CSV: Final = csv_format(_own_columns())
JSON_LINES: Final = json_lines(lambda row: {"event_id": event_id(row), **row})


def focus_csv(terms: Terms) -> Format:
    """FOCUS 1.2."""
    return csv_format(columns_of(terms))


def events(source: str) -> Format:
    """CloudEvents, one a line."""
    return json_lines(lambda row: event(row, source))


def event_batches(source: str) -> Format:
    """Batches of CloudEvents, a JSON array of at most ``BATCH_EVENTS_MAX`` a line."""

    def lines(rows: Sequence[Row]) -> str:
        batches = (rows[n : n + BATCH_EVENTS_MAX] for n in range(0, len(rows), BATCH_EVENTS_MAX))
        return "".join(f"{to_json([event(row, source) for row in batch])}\n" for batch in batches)

    return Format("", lines)
