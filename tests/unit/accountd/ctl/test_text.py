"""What accountctl prints: tables for people, CSV for spreadsheets."""

from typing import Any

import pytest

from accountd.ctl.statement_text import as_csv, as_text
from accountd.ctl.tables import csv_text, details, table
from accountd.ctl.text import audit_text, rates_text, rejected_text

PRODUCERS: dict[str, Any] = {
    "total": 3, "complete": 1, "open": 1, "incomplete_total": 1,
    "incomplete": [
        {"producer": "70", "applied_through": 4, "ended_at": 9, "missing_total": 2,
         "missing": [5, 6]},
    ],
}  # fmt: skip
AUDIT: dict[str, Any] = {
    "ok": True, "accounts": 1_200, "usage_rows": 5, "estimates": 1, "repeated": 2,
    "producers": {**PRODUCERS, "incomplete_total": 0, "incomplete": []},
    "rejected": 0, "rejected_by_reason": {}, "unsettled": {}, "drift": [], "drift_total": 0,
}  # fmt: skip
SUMS = {
    "responses": 2, "input_tokens": 30, "output_tokens": 12, "total_tokens": 42,
    "topup_deducted": 40, "token_deducted": 2, "credits": 42,
}  # fmt: skip
NO_ESTIMATES = {"rows": 0, "total_tokens": 0, "waived": 0}


def test_numbers_are_aligned_and_grouped() -> None:
    """A column of integers is right-aligned; anything else left."""
    rows = [{"name": "a", "token_count": 1_000}, {"name": "bb", "token_count": 20}]
    assert table(rows, ("name", "token_count")).splitlines() == [
        "name  token count", "----  -----------", "a           1,000", "bb             20",
    ]  # fmt: skip


def test_a_table_without_rows_has_its_head() -> None:
    """So that one sees what would be there."""
    assert table([], ("id", "email")) == "id  email\n--  -----"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (True, "True"), (1_234, "1,234"), ("a\x1b[2Jb\n", "a\ufffd[2Jb\ufffd")],
)
def test_what_a_value_looks_like(value: object, shown: str) -> None:
    """Text from a peer cannot move a terminal's cursor."""
    assert details({"it": value}) == f"it  {shown}"


def test_csv_keeps_numbers_as_they_are() -> None:
    """RFC 4180: a header, CRLF, quotes where they are needed; other fields are left out."""
    rows = [{"a": 1_000, "b": 'x,"y"', "c": 1}]
    assert csv_text(rows, ("a", "b")) == 'a,b\r\n1000,"x,""y"""\r\n'


def test_a_clean_audit_is_short() -> None:
    """OK and the counts, nothing more."""
    lines = audit_text(AUDIT).splitlines()
    assert lines[0].startswith("OK: ")
    assert lines[1].startswith("accounts 1,200, usage rows 5")
    assert len(lines) == 4


def test_an_audit_that_fails_says_what_is_wrong() -> None:
    """Balances that drift, producers with holes, and how many more there are than are shown."""
    found = {
        **AUDIT, "ok": False, "producers": {**PRODUCERS, "incomplete_total": 7},
        "rejected": 3, "rejected_by_reason": {"lost": 2, "conflict": 1},
        "unsettled": {"lost": 2},
        "drift": [{"account_id": "a", "token_found": 99, "token_expected": 5}], "drift_total": 1,
    }  # fmt: skip
    text = audit_text(found)
    assert text.startswith("NOT OK")
    for part in (
        "rejected 3, conflict 1, lost 2", "unsettled: lost 2; see accountctl rejected list",
        "token found", "1 of 7 incomplete producers", "[5, 6]",
    ):  # fmt: skip
        assert part in text
    assert "accounts that drift" not in text, "all of them are shown"


@pytest.mark.parametrize("fields", [None, {"model": "m", "usage": {"total_tokens": 5}}])
def test_a_message_in_quarantine(fields: dict[str, Any] | None) -> None:
    """What can be read of it, and its bytes."""
    found = {"id": 4, "reason": "bad_field", "fields": fields, "payload": "81a1"}
    lines = rejected_text(found).splitlines()
    assert lines[-1] == "payload  81a1"
    assert any('{"total_tokens": 5}' in line for line in lines) is (fields is not None)


@pytest.mark.parametrize(
    ("past", "known", "part"),
    [
        ([], [], "every unit of past usage has a price"),
        ([{"provider": "xai", "model": "m", "unit": "session_second", "amount": 7}], [], "7"),
        ([], [{"provider": "xai", "model": "m", "unit": "tool_call"}], "units of known models"),
    ],
)
def test_what_a_card_leaves_without_a_price(past: list[Any], known: list[Any], part: str) -> None:
    """Past usage and known models, each under its heading."""
    assert part in rates_text({"version": "v1", "past": past, "known": known})


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
