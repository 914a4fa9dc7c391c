"""``accountctl rejected``: usage in quarantine."""

from typing import Final

import click

from accountd.ctl import text
from accountd.ctl.arguments import INTEGER
from accountd.ctl.client import call
from accountd.ctl.output import JSON, show, show_list, show_settled

REJECTED_COLUMNS: Final = (
    "id", "received_at", "reason", "account_id", "session_id", "retried_at", "usage_id",
    "dismissed_reason", "detail",
)  # fmt: skip
DISMISSED_COLUMNS: Final = ("id", "detail")
RETRIED_COLUMNS: Final = ("id", "usage_id", "account_id", "topup_deducted", "token_deducted")


@click.group()
def rejected() -> None:
    """Usage that could not be applied: stored whole, until it is charged or dismissed."""


@rejected.command("list")
@click.option("--limit", type=INTEGER, help="At most so many (1 to 1000).")
@click.option("--all", "with_retried", is_flag=True, help="Those that were settled since, too.")
@JSON
@click.pass_obj
def list_rejected(endpoint: str, limit: int | None, with_retried: bool, as_json: bool) -> None:
    """List what is in quarantine, newest first."""
    found = call(endpoint, "rejected.list", {"limit": limit, "all": with_retried})
    show_list(found, as_json, "rejected", REJECTED_COLUMNS)


@rejected.command("show")
@click.argument("rejected_id", metavar="ID", type=INTEGER)
@JSON
@click.pass_obj
def show_rejected(endpoint: str, rejected_id: int, as_json: bool) -> None:
    """Show one message: its fields, as far as they can be decoded, and its bytes in hex."""
    show(call(endpoint, "rejected.show", {"id": rejected_id}), as_json, text.rejected_text)


@rejected.command("retry")
@click.argument("ids", metavar="ID...", type=INTEGER, nargs=-1, required=True)
@JSON
@click.pass_obj
def retry_rejected(endpoint: str, ids: tuple[int, ...], as_json: bool) -> None:
    """Charge messages that can be applied now, each once; exit 1 when one cannot."""
    found = call(endpoint, "rejected.retry", {"ids": list(ids)})
    show_settled(found, "charged", RETRIED_COLUMNS, as_json)


@rejected.command("dismiss")
@click.argument("ids", metavar="ID...", type=INTEGER, nargs=-1, required=True)
@click.option("--reason", required=True, help="How it was handled; kept with the message.")
@JSON
@click.pass_obj
def dismiss_rejected(endpoint: str, ids: tuple[int, ...], reason: str, as_json: bool) -> None:
    """Settle messages that were handled otherwise, without a charge; exit 1 when one cannot be."""
    found = call(endpoint, "rejected.dismiss", {"ids": list(ids), "reason": reason})
    show_settled(found, "dismissed", DISMISSED_COLUMNS, as_json)
