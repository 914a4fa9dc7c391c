"""How numbers are written on a command line."""

import click
import pytest

from accountd.ctl.arguments import CREDIT_MARK, INTEGER


@pytest.mark.parametrize(
    ("text", "value"), [("5", 5), ("+5", 5), ("-5", -5), ("007", 7), ("9" * 40, 10**40 - 1)]
)
def test_ascii_digits_are_a_number(text: str, value: int) -> None:
    """With a sign or without; its bounds are the daemon's matter."""
    assert INTEGER.convert(text, None, None) == value
    assert CREDIT_MARK.convert(text, None, None) == value


def test_a_mark_may_be_none() -> None:
    """No warning at all."""
    assert CREDIT_MARK.convert("none", None, None) is None


@pytest.mark.parametrize(
    "text",
    ["", "-", " 5", "5 ", "1_000", "1,000", "1e3", "0x10", "5.0", "None", "9" * 41,
     "\N{ARABIC-INDIC DIGIT FIVE}", "\N{FULLWIDTH DIGIT FIVE}", "\N{SUPERSCRIPT TWO}",
     "\N{MINUS SIGN}5"],
)  # fmt: skip
def test_what_only_looks_like_a_number_is_none(text: str) -> None:
    """int() takes some of these, and another number than the eye does."""
    for kind in (INTEGER, CREDIT_MARK):
        with pytest.raises(click.BadParameter, match=r"found .*, expected .*an integer") as bad:
            kind.convert(text, None, None)
        assert len(str(bad.value)) < 150
