"""What an export writes says what the rows say, whatever texts clients chose."""

import csv
import io
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from accountd.ctl.exporting.formats import CSV, CSV_COLUMNS, JSON_LINES
from accountd.ctl.exporting.rows import Row, event_id
from shared.csv_cells import MARK
from shared.usage import USAGE_FIELDS

COUNTS = ("id", "responses", "topup_deducted", "token_deducted", "credits", "waived", *USAGE_FIELDS)
TEXTS = ("created_at", "account_id", "session_id", "provider", "model", "kind", "rate_card",
         "unpriced")  # fmt: skip
BEGINNINGS = ["=", "+", "-", "@", "'", "\t", "\r\n", '"', ";", "\N{FULLWIDTH EQUALS SIGN}"]
HOSTILE = st.one_of(
    st.text(max_size=20),
    st.tuples(st.sampled_from(BEGINNINGS), st.text(max_size=5)).map("".join),
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            **dict.fromkeys(COUNTS, st.integers(0, 2**53)),
            **dict.fromkeys(TEXTS, HOSTILE),
            "producer": st.one_of(st.none(), st.just("ab" * 16)),
            "sequence": st.integers(1, 9),
            "response_ids": st.lists(HOSTILE, max_size=2),
            "raw_usage": st.just([{"unit": "=1"}]),
        }
    ),
    max_size=4,
)


@given(ROWS)
def test_csv_read_again_is_the_rows(rows: list[Row]) -> None:
    """Numbers are numbers; a text is itself once the mark is taken from it."""
    found = list(csv.DictReader(io.StringIO(CSV.head + CSV.text(rows), newline="")))
    assert [_plain(row) for row in found] == [
        {name: str({**row, "event_id": event_id(row)}[name]) for name in CSV_COLUMNS}
        for row in rows
    ]


@given(ROWS)
def test_no_cell_is_a_formula(rows: list[Row]) -> None:
    """For a spreadsheet."""
    formulas = ("=", "+", "-", "@", "\t", "\r", "\N{FULLWIDTH EQUALS SIGN}")
    for line in csv.reader(io.StringIO(CSV.text(rows), newline="")):
        assert not [cell for cell in line if cell.startswith(formulas)]


@given(ROWS)
def test_json_lines_read_again_are_the_rows(rows: list[Row]) -> None:
    """One object a line, also where a text has line ends."""
    lines = JSON_LINES.text(rows).split("\n")
    assert lines.pop() == ""
    assert [json.loads(line) for line in lines] == [
        {**row, "event_id": event_id(row)} for row in rows
    ]


def _plain(row: dict[str, Any]) -> dict[str, str]:
    return {name: cell.removeprefix(MARK) for name, cell in row.items()}
