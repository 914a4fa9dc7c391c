"""Kinds of arguments: how a number is written."""

import re
from typing import Any, Final

import click

# int() reads other scripts' digits, underscores and blanks as well: what looks like one number to
# the eye would be another.
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,40}")
_SHOWN_CHARS_MAX: Final = 60


class Integer(click.ParamType[int]):
    """An integer in ASCII digits."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it, or say what was found."""
        if isinstance(value, int):  # a default
            return value
        if not _INTEGER.fullmatch(value):
            self.fail(f"found {shortened(value)}, expected an integer like 1000", param, ctx)
        return int(value)


class CreditMark(click.ParamType[int | None]):
    """A number of credits, or none."""

    name = "mark"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        """Read ``none`` as None, anything else as an integer."""
        if value == "none":
            return None
        if not _INTEGER.fullmatch(value):
            self.fail(f"found {shortened(value)}, expected none or an integer", param, ctx)
        return int(value)


INTEGER: Final = Integer()
CREDIT_MARK: Final = CreditMark()


def shortened(value: str) -> str:
    """The beginning of a value, with quotes, as one line."""
    shown = repr(value)
    return shown if len(shown) <= _SHOWN_CHARS_MAX else f"{shown[:_SHOWN_CHARS_MAX]}…"
