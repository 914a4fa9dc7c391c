"""Formats usage and statements: tables for people, CSV for spreadsheets. Pure."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TextIO

from accountd.ctl.tables import table
from accountd.rpc_types import BUCKETS, COMMON_KIND, SUMMED
from shared.csv_cells import cells

ROW_COLUMNS: Final = (
    "created_at", "session_id", "provider", "model", "kind", "responses", "input_tokens",
    "output_tokens", "total_tokens", "topup_deducted", "token_deducted",
)  # fmt: skip
GROUP_COLUMNS: Final = (*SUMMED, "credits")
GRANT_COLUMNS: Final = ("created_at", "id", "kind", "topup_delta", "token_delta", "reason")

Found = Mapping[str, Any]


def as_csv(found: Found) -> str:
    """The groups, or the rows, with a header and without sums."""
    if "groups" in found:
        return csv_text(found["groups"], (found["by"], *GROUP_COLUMNS))
    return csv_text(found["rows"], ROW_COLUMNS)


def csv_text(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """The ``columns`` of ``rows`` as CSV (RFC 4180), with a header; numbers as they are."""
    out = io.StringIO()
    write_csv(rows, columns, out)
    return out.getvalue()


def write_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], out: TextIO) -> None:
    """Write what ``csv_text`` says, row by row."""
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows(cells(row.get(name, "") for name in columns) for row in rows)


def as_text(found: Found) -> str:
    """The statement with its groups, or the rows and the totals."""
    lines = _statement(found) if "groups" in found else [_rows(found)]
    estimates = found["estimates"]
    if estimates["rows"]:
        lines.append(
            f"estimates: {estimates['rows']:,} rows, {estimates['total_tokens']:,} tokens,"
            f" {estimates['waived']:,} credits not charged"
        )
    lines += [
        f"unpriced: {one['units']} of {one['provider']} {one['model']}, {one['rows']:,} rows"
        " cost nothing for it; name its price in the rate card (accountctl rates check)"
        for one in found["unpriced"]
    ]
    return "\n".join(lines)


# --- helpers -------------------------------------------------------------------------------------


def _statement(found: Found) -> list[str]:
    by = found["by"]
    total = {by: "total charged", **found["totals"]}
    movements = [
        {"": f"opening {found['since'] or ''}".strip(), **_buckets(found["opening"])},
        {"": "granted", **_buckets(found["granted"])},
        {"": "charged", **{k: -v for k, v in _buckets(found["charged"]).items()}},
        {"": f"closing {found['until'] or ''}".strip(), **_buckets(found["closing"])},
    ]
    grants = [table(found["grants"], GRANT_COLUMNS), ""] if found["grants"] else []
    return [
        table([*found["groups"], total], (by, *GROUP_COLUMNS)),
        "",
        *grants,
        table(movements, ("", *BUCKETS)),
    ]


def _buckets(amounts: Mapping[str, int]) -> dict[str, int]:
    """Amounts of the top-up and the subscription bucket, under one name for all of them."""
    return dict(zip(BUCKETS, amounts.values(), strict=True))


def _rows(found: Found) -> str:
    """The rows as a table. It has the column of kinds only when a row is not a response."""
    total = {"created_at": "total charged", "kind": "", **found["totals"]}
    rows = [r | {"kind": "" if r["kind"] == COMMON_KIND else r["kind"]} for r in found["rows"]]
    columns = [c for c in ROW_COLUMNS if c != "kind" or any(row["kind"] for row in rows)]
    return table([*rows, total], columns)
