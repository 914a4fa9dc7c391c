"""``accountctl sessions``: ends live sessions; shows and deletes stored conversations."""

import json
from typing import Any, Final

import click

from accountd.ctl.arguments import INTEGER
from accountd.ctl.client import call
from accountd.ctl.confirming import confirmed
from accountd.ctl.output import JSON, show, show_list
from accountd.ctl.tables import details

COLUMNS: Final = ("account_id", "session_id", "created_at", "updated_at", "bytes")


@click.group()
def sessions() -> None:
    """Live sessions, and stored conversations, which a client continues that comes back with its
    session's name.
    """


@sessions.command("end")
@click.argument("session_id", metavar="[ID]", required=False)
@click.option("--key", metavar="INDICATOR_OR_HASH", help="Those of this key.")
@click.option("--account", "account_id", help="Those of this account.")
@JSON
@click.pass_obj
def end_sessions(
    endpoint: str, session_id: str | None, key: str | None, account_id: str | None, as_json: bool
) -> None:
    """End live sessions and calls: those named ID, of a key, of an account, or of these together.

    Their clients may open new ones: revoke the key, or disable the account, where they must not.
    """
    if session_id is None and key is None and account_id is None:
        raise click.UsageError("found no ID, no --key and no --account, expected one or more")
    params = {"session_id": session_id, "key": key, "account_id": account_id}
    show(confirmed(endpoint, call(endpoint, "sessions.end", params)), as_json, details)


@sessions.command("list")
@click.option("--account", "account_id", help="Those of one account.")
@click.option("--limit", type=INTEGER, help="At most so many (1 to 1000).")
@JSON
@click.pass_obj
def list_sessions(endpoint: str, account_id: str | None, limit: int | None, as_json: bool) -> None:
    """List stored conversations, those used last first, with their sizes."""
    found = call(endpoint, "sessions.list", {"account_id": account_id, "limit": limit})
    if not found["total"]:
        _refuse_unknown(endpoint, account_id)
    show_list(found, as_json, "sessions", COLUMNS)


@sessions.command("show")
@click.argument("account_id", metavar="ACCOUNT")
@click.argument("session_id", metavar="SESSION")
@JSON
@click.pass_obj
def show_session(endpoint: str, account_id: str, session_id: str, as_json: bool) -> None:
    """Print one conversation, with all that was said in it: it is private."""
    params = {"account_id": account_id, "session_id": session_id}
    show(call(endpoint, "sessions.show", params), as_json, _text)


@sessions.command("delete")
@click.option("--account", "account_id", help="All of this account.")
@click.option("--session", "session_id", help="Those of this name; of --account, where given.")
@JSON
@click.pass_obj
def delete_sessions(
    endpoint: str, account_id: str | None, session_id: str | None, as_json: bool
) -> None:
    """Delete stored conversations. A session that is live may store its own again."""
    if account_id is None and session_id is None:
        raise click.UsageError("found neither --account nor --session, expected one or both")
    deleted = delete_conversations(endpoint, account_id=account_id, session_id=session_id)
    if not deleted:
        _refuse_unknown(endpoint, account_id)
    show({"deleted": deleted}, as_json, lambda answer: f"deleted {answer['deleted']:,}")


def delete_conversations(
    endpoint: str, *, account_id: str | None = None, session_id: str | None = None
) -> int:
    """Delete those of an account, of a name, or of both together; how many there were.

    A portion at a time: usage is charged between two of them.
    """
    params = {"account_id": account_id, "session_id": session_id}
    deleted, is_done = 0, False
    while not is_done:
        found = call(endpoint, "sessions.delete", params)
        deleted += found["deleted"]
        is_done = found["is_done"]
    return deleted


def _refuse_unknown(endpoint: str, account_id: str | None) -> None:
    """Say so when an account of which nothing was found does not exist."""
    if account_id is not None:
        call(endpoint, "account.show", {"account_id": account_id})


def _text(found: Any) -> str:
    return json.dumps(found, indent=2)  # ASCII: nothing in it moves a terminal's cursor
