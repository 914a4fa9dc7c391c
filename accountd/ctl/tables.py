"""Answers as tables for people. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """The ``columns`` of ``rows``, aligned; numbers to the right with thousands separators."""
    heads = [name.replace("_", " ") for name in columns]
    found = [[row.get(name) for name in columns] for row in rows]
    lines = [heads, *([_shown(value) for value in values] for values in found)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    numeric = [bool(found) and all(_is_number(v[i]) for v in found) for i in range(len(columns))]
    text = [
        "  ".join(
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    ]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([text[0], rule, *text[1:]])


def details(record: Mapping[str, Any]) -> str:
    """One record, each field on a line."""
    width = max(len(name) for name in record)
    return "\n".join(
        f"{name.replace('_', ' '):<{width}}  {_shown(value)}" for name, value in record.items()
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if _is_number(value):
        return f"{value:,}"
    # A name from a client could have control characters, which move a terminal's cursor.
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value))
