"""How usage and statements look."""

from typing import Any

import pytest

from accountd.ctl.statement_text import as_csv, as_text, csv_text

SUMS = {
    "responses": 2, "input_tokens": 30, "output_tokens": 12, "total_tokens": 42,
    "topup_deducted": 40, "token_deducted": 2, "credits": 42,
}  # fmt: skip
NO_ESTIMATES = {"rows": 0, "total_tokens": 0, "waived": 0}


def usage(*kinds: str) -> dict[str, Any]:
    """Rows of these kinds, and their totals."""
    rows = [
        {"created_at": "t", "kind": kind, "session_id": f"s{n}"} for n, kind in enumerate(kinds)
    ]
    return {"rows": rows, "totals": SUMS, "estimates": NO_ESTIMATES, "unpriced": []}


@pytest.mark.parametrize(
    ("kinds", "has_column"), [(["response"], False), (["response", "duration"], True)]
)
def test_a_kind_is_shown_where_it_is_not_a_response(kinds: list[str], has_column: bool) -> None:
    """Nearly every row is one."""
    head, *lines = as_text(usage(*kinds)).splitlines()
    assert (" kind" in head) is has_column
    assert "total charged" in lines[-1]


def test_what_was_estimated_and_what_has_no_price_is_said() -> None:
    """Nothing is free without a word."""
    found = usage("response")
    found["estimates"] = {"rows": 2, "total_tokens": 90, "waived": 1_090}
    found["unpriced"] = [{"units": "tool_call", "provider": "xai", "model": "m", "rows": 3}]
    *_, estimates, unpriced = as_text(found).splitlines()
    assert estimates == "estimates: 2 rows, 90 tokens, 1,090 credits not charged"
    assert unpriced.startswith("unpriced: tool_call of xai m, 3 rows cost nothing")


@pytest.mark.parametrize("grants", [[], [{"created_at": "t", "id": "g1", "kind": "topup"}]])
def test_a_statement_adds_up(grants: list[Any]) -> None:
    """Groups, grants where there are any, and from the opening to the closing balance."""
    buckets = {"topup": 100, "tokens": 5}
    found = {
        "by": "model", "groups": [{"model": "m", **SUMS}], "totals": SUMS, "grants": grants,
        "since": "2026-11-01", "until": None, "opening": buckets, "granted": buckets,
        "charged": {"topup": 40, "tokens": 2}, "closing": buckets,
        "estimates": NO_ESTIMATES, "unpriced": [],
    }  # fmt: skip
    text = as_text(found)
    for part in ("total charged", "opening 2026-11-01", "granted", "-40", "closing"):
        assert part in text
    assert ("g1" in text) is bool(grants)
    assert as_csv(found).splitlines()[0].startswith("model,responses,")
    assert as_csv(usage("response")).splitlines()[0].startswith("created_at,session_id,")


def test_csv_keeps_numbers_as_they_are() -> None:
    """RFC 4180: a header, CRLF, quotes where they are needed; other fields are left out."""
    rows = [{"a": 1_000, "b": 'x,"y"', "c": 1}]
    assert csv_text(rows, ("a", "b")) == 'a,b\r\n1000,"x,""y"""\r\n'
