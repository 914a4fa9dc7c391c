"""Answers as tables for people. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

_BASIC_MAX: Final = 0xFFFF  # one escape of JSON; those above take two


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
    return plain(str(value))


def plain(text: str) -> str:
    """``text`` for a terminal. A name from a client could have control characters, which move its
    cursor.
    """
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def to_json(found: Any) -> str:
    """JSON in UTF-8, in which the characters that a terminal obeys are spelled out."""
    text = json.dumps(found, ensure_ascii=False)
    return text if text.isprintable() else "".join(map(_spelled, text))


def _spelled(character: str) -> str:
    if character.isprintable():
        return character
    number = ord(character)
    return json.dumps(character)[1:-1] if number > _BASIC_MAX else f"\\u{number:04x}"
