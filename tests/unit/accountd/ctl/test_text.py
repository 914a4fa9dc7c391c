"""What accountctl prints of an audit, of the quarantine, and of a rate card."""

from typing import Any

import pytest

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
        "unsettled": {"lost": 2}, "wrong_segments": [3, 4],
        "wrong_spending": [
            {"key_hash": "abc", "day": "2026-12-01", "credits_found": 7, "credits_expected": 8},
        ],
        "drift": [{"account_id": "a", "token_found": 99, "token_expected": 5}], "drift_total": 1,
    }  # fmt: skip
    text = audit_text(found)
    assert text.startswith("NOT OK")
    for part in (
        "rejected 3, conflict 1, lost 2", "unsettled: lost 2; see accountctl rejected list",
        "differs from them in its segments 3, 4", "token found", "1 of 7 incomplete producers",
        "[5, 6]", "not the sum of their usage rows", "credits expected",
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
