"""Prints the answers of ``accountctl``: JSON for programs, text for people.

The number of rows that a list leaves out is printed on stderr, so that stdout has only the answer.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

import click

from accountd.ctl.tables import plain, table, to_json
from shared.errors import ExitCode

JSON: Final = click.option(
    "--json", "as_json", is_flag=True, help="One JSON document, for programs."
)

_CUT_HINTS: Final = {
    "rows": "--csv, --json-lines and --json have all",
    "keys": "the newest are shown",
    "accounts": "see --search, --limit and --page",
}


def show(found: Any, as_json: bool, as_text: Callable[[Any], str]) -> None:
    """Print an answer as one JSON document, or as the text that ``as_text`` returns."""
    click.echo(to_json(found) if as_json else as_text(found))


def tell_cut(missing: int, what: str) -> None:
    """Say on stderr, in every format, that ``missing`` rows were left out."""
    if missing > 0:
        hint = _CUT_HINTS.get(what, "see --limit")
        click.echo(f"accountctl: {missing:,} more {what} are not shown; {hint}", err=True)


def tell_archived(rows: int, what: str) -> None:
    """Say on stderr, in every format, that ``rows`` rows are in an archive; and ``what`` of it."""
    if rows:
        click.echo(
            f"accountctl: {rows:,} rows are in an archive (accountd prune): {what}", err=True
        )


def show_list(found: Any, as_json: bool, name: str, columns: tuple[str, ...]) -> None:
    """Print the list ``found[name]``; in JSON ``truncated`` says whether it is cut."""
    missing = found["total"] - len(found[name])
    tell_cut(missing, name)
    show(
        {**found, "truncated": missing > 0}, as_json, lambda x: _rows(x[name], columns, x["total"])
    )


def _rows(rows: list[Mapping[str, Any]], columns: tuple[str, ...], total: int) -> str:
    text = table(rows, columns)
    return text if len(rows) == total else f"{text}\n{len(rows):,} of {total:,}; see --limit"


def show_settled(
    found: Mapping[str, Any], outcome: str, columns: tuple[str, ...], as_json: bool
) -> NoReturn:
    """Print settled messages on stdout, the others with the reason on stderr; exit 1 if any."""
    left = [r for r in found["results"] if r["outcome"] != outcome]
    if as_json:
        click.echo(to_json(found))
    else:
        settled = [r for r in found["results"] if r["outcome"] == outcome]
        if settled:
            click.echo(table(settled, columns))
        for result in left:
            line = f"accountctl: rejected usage {result['id']}: {result['detail']}"
            click.echo(plain(line), err=True)
    sys.exit(ExitCode.REFUSED if left else ExitCode.DONE)
