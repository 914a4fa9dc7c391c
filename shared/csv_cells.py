"""Cells of CSV files that spreadsheets take for what they are. Pure.

A spreadsheet computes a cell that begins like a formula, also where the file has it in quotes, and
clients choose the names of their sessions. Such a text gets a ``'`` before it, as OWASP advises
("CSV Injection"); numbers stay numbers. A text that begins with ``'`` gets one as well, so that who
takes one ``'`` from the beginning of every text has what the ledger says.
"""

from collections.abc import Iterable
from typing import Any, Final

MARK: Final = "'"
# The full-width forms are what East Asian input methods write; spreadsheets take them for the same.
_MARKED: Final = (
    MARK, "=", "+", "-", "@", "\t", "\r", "\n",
    "\N{FULLWIDTH EQUALS SIGN}", "\N{FULLWIDTH PLUS SIGN}", "\N{FULLWIDTH HYPHEN-MINUS}",
    "\N{FULLWIDTH COMMERCIAL AT}",
)  # fmt: skip


def cells(values: Iterable[Any]) -> list[Any]:
    """``values`` as the cells of a row."""
    return [
        MARK + value if isinstance(value, str) and value.startswith(_MARKED) else value
        for value in values
    ]
