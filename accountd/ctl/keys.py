"""``accountctl key``: API keys."""

from typing import Any, Final

import click

from accountd.ctl.arguments import INTEGER
from accountd.ctl.client import call
from accountd.ctl.confirming import confirmed
from accountd.ctl.limits import key_limit_options, limit, with_limits
from accountd.ctl.output import JSON, show, show_list
from accountd.ctl.tables import details

KEY_COLUMNS: Final = (
    "key_indicator",
    "label",
    "created_at",
    "expires_at",
    "last_used_at",
    "revoked_at",
)

_COUNTED_FROM_NOW: Final = (
    "accountctl: what sessions spend that began without a spending cap is not counted;"
    " accountctl sessions end --key ends them"
)


@click.group()
def key() -> None:
    """API keys."""


KEY: Final = click.argument("key_name", metavar="INDICATOR_OR_HASH")
OF_ACCOUNT: Final = click.option(
    "--account", "account_id", help="Look only among this account's keys."
)
KEEP_SESSIONS: Final = click.option(
    "--keep-sessions", "keeps_sessions", is_flag=True,
    help="Let live sessions go on; nothing new is opened.",
)  # fmt: skip


@key.command("create")
@click.argument("account_id", metavar="ACCOUNT")
@click.option("--label", required=True, help="What the key is for.")
@click.option("--expires", "expires_at", help="ISO date and time, UTC without a zone.")
@click.option(
    "--keep-sessions", "keeps_sessions", is_flag=True,
    help="Let sessions that are live when the key expires go on.",
)  # fmt: skip
@JSON
@click.pass_obj
def create_key(endpoint: str, /, as_json: bool, **params: Any) -> None:
    """Create a key. It is shown now and never again."""
    show(call(endpoint, "key.create", params), as_json, details)


@key.command("list")
@click.argument("account_id", metavar="ACCOUNT")
@JSON
@click.pass_obj
def list_keys(endpoint: str, account_id: str, as_json: bool) -> None:
    """List the keys of an account, newest first."""
    found = call(endpoint, "key.list", {"account_id": account_id})
    show_list(found, as_json, "keys", KEY_COLUMNS)


@key.command("show")
@KEY
@OF_ACCOUNT
@JSON
@click.pass_obj
def show_key(endpoint: str, key_name: str, account_id: str | None, as_json: bool) -> None:
    """Show one key, without the key itself."""
    params = {"key": key_name, "account_id": account_id}
    show(call(endpoint, "key.show", params), as_json, with_limits)


@key.command("limit")
@KEY
@OF_ACCOUNT
@key_limit_options
@JSON
@click.pass_obj
def limit_key(
    endpoint: str, /, key_name: str, account_id: str | None, as_json: bool, **words: str | None
) -> None:
    """Set what a key may do at most; without options show it. Only what is named changes.

    default: what ACCOUNTD_KEY_LIMITS says. Live sessions go on by the limits they began with.
    """
    limit(endpoint, "key.limit", {"key": key_name, "account_id": account_id, **words}, as_json)
    if words.get("spending") is not None:
        click.echo(_COUNTED_FROM_NOW, err=True)


@key.command("spending")
@KEY
@OF_ACCOUNT
@click.option("--limit", type=INTEGER, help="At most so many days (1 to 1000).")
@JSON
@click.pass_obj
def spending(
    endpoint: str, key_name: str, account_id: str | None, limit: int | None, as_json: bool
) -> None:
    """Show what a key has spent by day (UTC), the newest first: what its spending cap counts."""
    params = {"key": key_name, "account_id": account_id, "limit": limit}
    show_list(call(endpoint, "key.spending", params), as_json, "days", ("day", "credits"))


@key.command("revoke")
@KEY
@OF_ACCOUNT
@KEEP_SESSIONS
@JSON
@click.pass_obj
def revoke_key(
    endpoint: str, key_name: str, account_id: str | None, keeps_sessions: bool, as_json: bool
) -> None:
    """Refuse new sessions with a key, and end those that there are."""
    params = {"key": key_name, "account_id": account_id, "keeps_sessions": keeps_sessions}
    show(confirmed(endpoint, call(endpoint, "key.revoke", params)), as_json, details)
