"""``accountctl export``: the options, and where the rows go."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from accountd.ctl.arguments import INTEGER
from accountd.ctl.exporting import formats
from accountd.ctl.exporting.files import NewFile
from accountd.ctl.exporting.formats import Format
from accountd.ctl.exporting.pages import Cut, Selection, begin, pages

_FORMATS: Final = {"csv": formats.CSV, "jsonl": formats.JSON_LINES}


@click.command()
@click.option(
    "--format", "format_name", type=click.Choice(list(_FORMATS)), required=True,
    help="How the rows are written.",
)  # fmt: skip
@click.option("--account", "accounts", multiple=True, help="Only of this account; repeatable.")
@click.option("--since", help="ISO date or time, included; UTC without a zone.")
@click.option("--until", help="ISO date or time, not included; UTC without a zone.")
@click.option("--after", type=INTEGER, default=0, help="Only rows with ids above this one.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False),
    help="The file, which is there whole or not at all; absent: standard output.",
)  # fmt: skip
@click.pass_obj
def export(
    endpoint: str, /, format_name: str, after: int, output: Path | None, **selected: Any
) -> None:
    """Write the usage rows of all accounts, in the order of the ledger."""
    selection = Selection(**selected)
    cut = begin(endpoint, selection, after=after)
    form = _FORMATS[format_name]
    if output is None:
        rows = _write(endpoint, selection, cut, form, _to_stdout)
    else:
        with NewFile(output) as file:
            rows = _write(endpoint, selection, cut, form, file.write)
            file.finish()
            file.publish()
    click.echo(f"accountctl: {rows:,} rows; --after {cut.through} goes on from here", err=True)


def _write(
    endpoint: str, selection: Selection, cut: Cut, form: Format, write: Callable[[str], None]
) -> int:
    """Write all rows; returns how many there are."""
    count = 0
    write(form.head)
    for page in pages(endpoint, selection, cut):
        write(form.text(page))
        count += len(page)
    return count


def _to_stdout(text: str) -> None:
    sys.stdout.write(text)
