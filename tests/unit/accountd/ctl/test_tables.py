"""Answers as tables for people."""

import json

import pytest

from accountd.ctl.tables import details, table, to_json


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


def test_json_has_nothing_that_a_terminal_obeys() -> None:
    """And it is the same JSON."""
    said = {"name": "a\x9b2Jb\u202ec\x1b\x7f\U000e0001", "größe": "你"}
    text = to_json(said)
    assert text.isprintable()
    assert "größe" in text
    assert json.loads(text) == said
