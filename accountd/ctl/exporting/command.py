"""``accountctl export``: the options."""

from pathlib import Path
from typing import Any, Final

import click

from accountd.ctl.arguments import INTEGER
from accountd.ctl.exporting.choosing import NAMES, FormatOptions, format_of
from accountd.ctl.exporting.jobs import Wanted, export_new, to_file, to_stdout
from accountd.ctl.exporting.pages import Selection

_OF_FORMATS: Final = ("issuer", "currency", "credit_price", "is_prepaid", "source")


@click.command()
@click.option(
    "--format", "format_name", type=click.Choice(NAMES), required=True,
    help="How the rows are written.",
)  # fmt: skip
@click.option("--account", "accounts", multiple=True, help="Only of this account; repeatable.")
@click.option("--since", help="ISO date or time, included; UTC without a zone.")
@click.option("--until", help="ISO date or time, not included; UTC without a zone.")
@click.option("--after", type=INTEGER, help="Only rows with ids above this one.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False),
    help="The file, which is there whole or not at all; absent: standard output.",
)  # fmt: skip
@click.option("--issuer", help="FOCUS: the name of the company that sells the credits.")
@click.option("--currency", help="FOCUS: what it sells them for (ISO 4217), like USD.")
@click.option("--credit-price", help="FOCUS: what a credit costs, like 0.00002.")
@click.option(
    "--prepaid", "is_prepaid", is_flag=True,
    help="FOCUS: credits were invoiced when they were bought: usage bills nothing.",
)  # fmt: skip
@click.option("--source", help="CloudEvents: their source; named after the ledger when absent.")
@click.option(
    "--cursor", type=click.Path(path_type=Path, dir_okay=False),
    help="Only what is new since the export before with this file, which remembers where it ended.",
)  # fmt: skip
@click.pass_obj
def export(
    endpoint: str,
    /,
    format_name: str,
    after: int | None,
    output: Path | None,
    cursor: Path | None,
    **others: Any,
) -> None:
    """Write the usage rows of all accounts, in the order of the ledger."""
    options = FormatOptions(**{name: others.pop(name) for name in _OF_FORMATS})
    wanted = Wanted(endpoint, Selection(**others), format_of(format_name, options))
    if cursor is not None:
        if output is None or wanted.selection.has_period or after is not None:
            raise click.UsageError("--cursor goes with -o, not with --after, --since and --until")
        told = export_new(wanted, output, cursor, format_name)
    elif output is None:
        told = to_stdout(wanted, after=after or 0)
    else:
        told = to_file(wanted, output, after=after or 0)
    click.echo(f"accountctl: {told}", err=True)
