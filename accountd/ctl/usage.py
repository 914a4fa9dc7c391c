"""``accountctl usage``: charged usage as rows, or as a statement, in four formats."""

import sys
from typing import Any

import click

from accountd.ctl import export, statement_text
from accountd.ctl.arguments import INTEGER
from accountd.ctl.client import call
from accountd.ctl.output import JSON, show, tell_archived, tell_cut
from accountd.rpc_types import GroupBy
from shared.errors import RefusedError


@click.command()
@click.argument("account_id", metavar="ACCOUNT")
@click.option(
    "--by",
    type=click.Choice([str(by) for by in GroupBy]),
    help="A statement: groups in place of rows.",
)
@click.option("--since", help="ISO date or time, included; UTC without a zone.")
@click.option("--until", help="ISO date or time, not included; UTC without a zone.")
@click.option(
    "--limit", type=INTEGER,
    help="At most so many rows (1 to 1000): the table shows 1000 when absent, programs get all.",
)  # fmt: skip
@click.option("--csv", "as_csv", is_flag=True, help="The rows or groups as CSV.")
@click.option("--json-lines", "as_lines", is_flag=True, help="The rows, one JSON object a line.")
@JSON
@click.pass_obj
def usage(
    endpoint: str, /, as_json: bool, as_csv: bool, as_lines: bool, limit: int | None, **params: Any
) -> None:
    """Show what an account has used and what it was charged, newest first; or its statement."""
    if as_json + as_csv + as_lines > 1:
        raise click.UsageError("--json and --csv exclude each other, and --json-lines both")
    if as_lines and params["by"]:
        raise click.UsageError("--json-lines goes with rows; a statement is --json or --csv")
    found = call(endpoint, "usage", {**params, "limit": limit})
    tell_archived(
        found.get("archived_rows", 0),  # an older accountd has no archives
        "the sums have them, by session as one line" if "groups" in found else "the sums have them",
    )
    if "groups" in found:
        if as_csv:
            click.echo(statement_text.as_csv(found), nl=False)
        else:
            show(found, as_json, statement_text.as_text)
    else:
        is_export = (as_json or as_csv or as_lines) and limit is None
        tell_cut(0 if is_export else found["rows_total"] - len(found["rows"]), "rows")
        rows = export.rows(endpoint, params, found) if is_export else found["rows"]
        if as_csv:
            statement_text.write_csv(rows, statement_text.ROW_COLUMNS, sys.stdout)
        elif as_lines:
            export.write_json_lines(rows, sys.stdout)
        elif as_json:
            rest = {k: v for k, v in found.items() if k not in ("rows", "next_before")}
            is_cut = not is_export and found["next_before"] is not None
            export.write_json(rows, {**rest, "truncated": is_cut}, sys.stdout)
        else:
            click.echo(statement_text.as_text(found))
    if not found["adds_up"]:
        raise RefusedError("the statement does not add up", hint="run: accountctl audit")
