"""The formats of an export: the text of each page, which ends with a line. Pure."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from accountd.ctl.exporting.rows import Row, event_id
from accountd.ctl.tables import to_json
from shared.csv_cells import cells
from shared.usage import USAGE_FIELDS

CSV_COLUMNS: Final = (
    "id", "event_id", "created_at", "account_id", "session_id", "provider", "model", "kind",
    "responses", *USAGE_FIELDS, "topup_deducted", "token_deducted", "credits", "waived",
    "rate_card", "unpriced",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Format:
    """How rows are written: ``head``, once, then ``text`` of each page."""

    head: str
    text: Callable[[Sequence[Row]], str]


def csv_lines(rows: Sequence[Row], columns: Sequence[str] = CSV_COLUMNS) -> str:
    """CSV (RFC 4180) without a header."""
    out = io.StringIO()
    csv.writer(out).writerows(cells(row[name] for name in columns) for row in rows)
    return out.getvalue()


def _csv(rows: Sequence[Row]) -> str:
    return csv_lines([{**row, "event_id": event_id(row)} for row in rows])


def _json_lines(rows: Sequence[Row]) -> str:
    return "".join(f"{to_json({'event_id': event_id(row), **row})}\n" for row in rows)


CSV: Final = Format(",".join(CSV_COLUMNS) + "\r\n", _csv)
JSON_LINES: Final = Format("", _json_lines)
