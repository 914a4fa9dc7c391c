"""``accountctl account``: accounts, their credits and their estimates."""

from typing import Any, Final

import click

from accountd.ctl.arguments import CREDIT_MARK, INTEGER
from accountd.ctl.client import call
from accountd.ctl.confirming import confirmed, wait_for_gateways
from accountd.ctl.keys import KEEP_SESSIONS
from accountd.ctl.limits import account_limit_options, limit, with_limits
from accountd.ctl.output import JSON, show, show_list
from accountd.ctl.sessions import delete_conversations
from accountd.ctl.tables import details
from accountd.rpc_types import DebtPolicy

ACCOUNT_COLUMNS: Final = (
    "id",
    "email",
    "plan_name",
    "token_remaining",
    "topup_remaining",
    "status",
)
_GRANT_ID: Final = click.option(
    "--id", "grant_id", help="Names the grant: repeated with one id it counts once."
)


@click.group()
def account() -> None:
    """Accounts and their credits."""


@account.command("create")
@click.option("--email", required=True, help="Unique address of the account's owner.")
@click.option("--id", "account_id", help="The account's id; made up when absent.")
@click.option("--plan", "plan_name", default="Free", show_default=True, help="Free, Pro, …")
@click.option("--tokens", type=INTEGER, help="Subscription tokens; the plan's when absent.")
@click.option(
    "--topup", type=INTEGER, default=0, show_default=True, help="Top-up credits in tokens."
)
@JSON
@click.pass_obj
def create_account(endpoint: str, /, account_id: str | None, as_json: bool, **params: Any) -> None:
    """Create an account."""
    show(call(endpoint, "account.create", {"id": account_id, **params}), as_json, details)


@account.command("show")
@click.argument("account_id", metavar="ID")
@JSON
@click.pass_obj
def show_account(endpoint: str, account_id: str, as_json: bool) -> None:
    """Show one account."""
    show(call(endpoint, "account.show", {"account_id": account_id}), as_json, with_limits)


@account.command("list")
@click.option("--search", help="Those whose id or email contains this text.")
@click.option("--page", type=INTEGER, help="Which page of so many as --limit says; 1 when absent.")
@click.option("--limit", type=INTEGER, help="At most so many (1 to 1000).")
@click.option("--all", "with_deleted", is_flag=True, help="Deleted ones, too.")
@JSON
@click.pass_obj
def list_accounts(endpoint: str, /, with_deleted: bool, as_json: bool, **params: Any) -> None:
    """List accounts, oldest first."""
    found = call(endpoint, "account.list", {"all": with_deleted, **params})
    show_list(found, as_json, "accounts", ACCOUNT_COLUMNS)


@account.command("topup", context_settings={"ignore_unknown_options": True})
@click.argument("account_id", metavar="ID")
@click.argument("amount", type=INTEGER)
@_GRANT_ID
@JSON
@click.pass_obj
def topup(endpoint: str, /, as_json: bool, **params: Any) -> None:
    """Add AMOUNT top-up credits (tokens) to an account."""
    show(call(endpoint, "account.topup", params), as_json, details)


@account.command("renew")
@click.argument("account_id", metavar="ID")
@click.option("--plan", "plan_name", help="Change to this plan, too.")
@click.option(
    "--debt", type=click.Choice([str(debt) for debt in DebtPolicy]), default=str(DebtPolicy.KEEP),
    show_default=True, help="A negative balance: carry it into the new period, or not.",
)  # fmt: skip
@_GRANT_ID
@JSON
@click.pass_obj
def renew(endpoint: str, /, as_json: bool, **params: Any) -> None:
    """Begin a new period: set the subscription tokens to the plan's. Unspent ones are lost."""
    show(call(endpoint, "account.renew", params), as_json, details)


@account.command("adjust")
@click.argument("account_id", metavar="ID")
@click.option("--topup", type=INTEGER, help="Add so many top-up credits; negative: take.")
@click.option("--tokens", type=INTEGER, help="Add so many subscription tokens; negative: take.")
@click.option("--reason", required=True, help="Why; kept with the grant.")
@_GRANT_ID
@JSON
@click.pass_obj
def adjust(endpoint: str, /, as_json: bool, **params: Any) -> None:
    """Correct a balance."""
    show(call(endpoint, "account.adjust", params), as_json, details)


@account.command("mark", context_settings={"ignore_unknown_options": True})
@click.argument("account_id", metavar="ID")
@click.argument("mark", metavar="N|none", type=CREDIT_MARK)
@JSON
@click.pass_obj
def mark(endpoint: str, account_id: str, mark: int | None, as_json: bool) -> None:
    """Warn when the credits of both buckets together fall to N; none: never."""
    params = {"account_id": account_id, "mark": mark}
    show(call(endpoint, "account.mark", params), as_json, details)


@account.command("limit")
@click.argument("account_id", metavar="ID")
@account_limit_options
@JSON
@click.pass_obj
def limit_account(endpoint: str, /, as_json: bool, **params: str | None) -> None:
    """Set what an account, all its keys together, may do at most; without options show it.

    Only what is named changes. default: what ACCOUNTD_ACCOUNT_LIMITS says. Live sessions go on by
    the limits they began with.
    """
    limit(endpoint, "account.limit", params, as_json)


@account.command("estimates")
@click.argument("account_id", metavar="ID")
@click.option("--reset", is_flag=True, required=True, help="Required: confirms that this is meant.")
@JSON
@click.pass_obj
def reset_estimates(endpoint: str, account_id: str, reset: bool, as_json: bool) -> None:
    """Waive the estimates of an account again, and count waived ones from 0."""
    assert reset
    params = {"account_id": account_id}
    show(call(endpoint, "account.reset_estimates", params), as_json, details)


@account.command("enable")
@click.argument("account_id", metavar="ID")
@JSON
@click.pass_obj
def enable(endpoint: str, account_id: str, as_json: bool) -> None:
    """Let an account open sessions again."""
    show(call(endpoint, "account.enable", {"account_id": account_id}), as_json, details)


@account.command("disable")
@click.argument("account_id", metavar="ID")
@KEEP_SESSIONS
@JSON
@click.pass_obj
def disable(endpoint: str, account_id: str, keeps_sessions: bool, as_json: bool) -> None:
    """Refuse new sessions of an account, and end those that there are."""
    params = {"account_id": account_id, "keeps_sessions": keeps_sessions}
    show(confirmed(endpoint, call(endpoint, "account.disable", params)), as_json, details)


@account.command("email")
@click.argument("account_id", metavar="ID")
@click.argument("email")
@JSON
@click.pass_obj
def change_email(endpoint: str, account_id: str, email: str, as_json: bool) -> None:
    """Change the address of an account's owner to EMAIL."""
    params = {"account_id": account_id, "email": email}
    show(call(endpoint, "account.email", params), as_json, details)


@account.command("delete")
@click.argument("account_id", metavar="ID")
@JSON
@click.pass_obj
def delete(endpoint: str, account_id: str, as_json: bool) -> None:
    """Close an account for ever: its keys are revoked, its stored conversations deleted.

    Its books stay: show, usage and audit have them. Its id cannot be used again, its email can.
    """
    found = call(endpoint, "account.delete", {"account_id": account_id})
    if "recall" in found:  # else it was deleted before
        wait_for_gateways(endpoint, found.pop("recall"))
    delete_conversations(endpoint, account_id=account_id)
    show(found, as_json, details)
