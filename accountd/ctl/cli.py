"""The command ``accountctl``: accounts, keys, usage and the audit, through the running daemon."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import click

from accountd.ctl import export, statement_text
from accountd.ctl import text as admin_text
from accountd.ctl.client import call
from accountd.ctl.tables import details, table
from accountd.ledger.pricing import read_rate_card
from accountd.rpc_types import DebtPolicy, GroupBy
from shared import config
from shared.config import Checker, setting
from shared.errors import ConfigError, ExitCode, RefusedError
from shared.rate_card import RateCardError

_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document, for programs.")

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

_CUT_HINTS = {
    "rows": "--csv, --json-lines and --json have all",
    "keys": "the newest are shown",
}
ACCOUNT_COLUMNS = ("id", "email", "plan_name", "token_remaining", "topup_remaining", "status")
KEY_COLUMNS = ("key_indicator", "label", "created_at", "expires_at", "last_used_at", "revoked_at")
REJECTED_COLUMNS = (
    "id", "received_at", "reason", "account_id", "session_id", "retried_at", "usage_id",
    "dismissed_reason", "detail",
)  # fmt: skip
DISMISSED_COLUMNS = ("id", "detail")
RETRIED_COLUMNS = ("id", "usage_id", "account_id", "topup_deducted", "token_deducted")


class CreditMark(click.ParamType[int | None]):
    """A number of credits, or none."""

    name = "mark"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        """Read ``none`` as None, anything else as an integer."""
        if value == "none":
            return None
        return click.INT.convert(value, param, ctx)


CREDIT_MARK = CreditMark()


@click.group()
@click.version_option(package_name="realtime-switch")
@setting(
    "ACCOUNTD_RPC_ENDPOINT",
    default=config.DEFAULT_RPC_ENDPOINT,
    help="The daemon's request socket: ipc://PATH or tcp://127.0.0.1:PORT.",
)
@click.pass_context
def cli(context: click.Context, /, **settings: str | None) -> None:
    """Manage accounts, keys and credits. Talks to the running accountd."""
    checker = Checker(settings)
    context.obj = checker.value("ACCOUNTD_RPC_ENDPOINT", config.endpoint)
    checker.finish()


@cli.group()
def account() -> None:
    """Accounts and their credits."""


@account.command("create")
@click.option("--email", required=True, help="Unique address of the account's owner.")
@click.option("--id", "account_id", help="The account's id; made up when absent.")
@click.option("--plan", "plan_name", default="Free", show_default=True, help="Free, Pro, …")
@click.option("--tokens", type=int, help="Subscription tokens; the plan's when absent.")
@click.option("--topup", type=int, default=0, show_default=True, help="Top-up credits in tokens.")
@_JSON
@click.pass_obj
def create_account(endpoint: str, /, account_id: str | None, as_json: bool, **params: Any) -> None:
    """Create an account."""
    _show(call(endpoint, "account.create", {"id": account_id, **params}), as_json, details)


@account.command("show")
@click.argument("account_id", metavar="ID")
@_JSON
@click.pass_obj
def show_account(endpoint: str, account_id: str, as_json: bool) -> None:
    """Show one account."""
    _show(call(endpoint, "account.show", {"account_id": account_id}), as_json, details)


@account.command("list")
@click.option("--limit", type=int, help="At most so many (1 to 1000).")
@_JSON
@click.pass_obj
def list_accounts(endpoint: str, limit: int | None, as_json: bool) -> None:
    """List accounts, oldest first."""
    found = call(endpoint, "account.list", {"limit": limit})
    _show_list(found, as_json, "accounts", ACCOUNT_COLUMNS)


@account.command("topup", context_settings={"ignore_unknown_options": True})
@click.argument("account_id", metavar="ID")
@click.argument("amount", type=int)
@click.option("--id", "grant_id", help="Names the grant: repeated with one id it counts once.")
@_JSON
@click.pass_obj
def topup(endpoint: str, /, as_json: bool, **params: Any) -> None:
    """Add AMOUNT top-up credits (tokens) to an account."""
    _show(call(endpoint, "account.topup", params), as_json, details)


@account.command("renew")
@click.argument("account_id", metavar="ID")
@click.option("--plan", "plan_name", help="Change to this plan, too.")
@click.option(
    "--debt", type=click.Choice([str(debt) for debt in DebtPolicy]), default=str(DebtPolicy.KEEP),
    show_default=True, help="A negative balance: carry it into the new period, or not.",
)  # fmt: skip
@click.option("--id", "grant_id", help="Names the grant: repeated with one id it counts once.")
@_JSON
@click.pass_obj
def renew(endpoint: str, /, as_json: bool, **params: Any) -> None:
    """Begin a new period: set the subscription tokens to the plan's. Unspent ones are gone."""
    _show(call(endpoint, "account.renew", params), as_json, details)


@account.command("adjust")
@click.argument("account_id", metavar="ID")
@click.option("--topup", type=int, help="Add so many top-up credits; negative: take.")
@click.option("--tokens", type=int, help="Add so many subscription tokens; negative: take.")
@click.option("--reason", required=True, help="Why; kept with the grant.")
@click.option("--id", "grant_id", help="Names the grant: repeated with one id it counts once.")
@_JSON
@click.pass_obj
def adjust(endpoint: str, /, as_json: bool, **params: Any) -> None:
    """Correct a balance."""
    _show(call(endpoint, "account.adjust", params), as_json, details)


@account.command("mark")
@click.argument("account_id", metavar="ID")
@click.argument("mark", metavar="N|none", type=CREDIT_MARK)
@_JSON
@click.pass_obj
def mark(endpoint: str, account_id: str, mark: int | None, as_json: bool) -> None:
    """Warn when the credits of both buckets together fall to N; none: never."""
    params = {"account_id": account_id, "mark": mark}
    _show(call(endpoint, "account.mark", params), as_json, details)


@account.command("estimates")
@click.argument("account_id", metavar="ID")
@click.option("--reset", is_flag=True, required=True, help="Forgive them.")
@_JSON
@click.pass_obj
def reset_estimates(endpoint: str, account_id: str, reset: bool, as_json: bool) -> None:
    """Charge no estimates of an account any more, and count those that are let off anew."""
    assert reset
    params = {"account_id": account_id}
    _show(call(endpoint, "account.reset_estimates", params), as_json, details)


@account.command("enable")
@click.argument("account_id", metavar="ID")
@_JSON
@click.pass_obj
def enable(endpoint: str, account_id: str, as_json: bool) -> None:
    """Let an account open sessions again."""
    _show(call(endpoint, "account.enable", {"account_id": account_id}), as_json, details)


@account.command("disable")
@click.argument("account_id", metavar="ID")
@_JSON
@click.pass_obj
def disable(endpoint: str, account_id: str, as_json: bool) -> None:
    """Refuse new sessions of an account."""
    _show(call(endpoint, "account.disable", {"account_id": account_id}), as_json, details)


@cli.group()
def key() -> None:
    """API keys."""


@key.command("create")
@click.argument("account_id", metavar="ACCOUNT")
@click.option("--label", required=True, help="What the key is for.")
@click.option("--expires", "expires_at", help="ISO date and time, UTC without a zone.")
@_JSON
@click.pass_obj
def create_key(endpoint: str, /, as_json: bool, **params: Any) -> None:
    """Create a key. It is shown now and never again."""
    _show(call(endpoint, "key.create", params), as_json, details)


@key.command("list")
@click.argument("account_id", metavar="ACCOUNT")
@_JSON
@click.pass_obj
def list_keys(endpoint: str, account_id: str, as_json: bool) -> None:
    """List the keys of an account, newest first."""
    found = call(endpoint, "key.list", {"account_id": account_id})
    _show_list(found, as_json, "keys", KEY_COLUMNS)


@key.command("revoke")
@click.argument("key_name", metavar="INDICATOR_OR_HASH")
@click.option("--account", "account_id", help="Look only among this account's keys.")
@_JSON
@click.pass_obj
def revoke_key(endpoint: str, key_name: str, account_id: str | None, as_json: bool) -> None:
    """Refuse new sessions with a key."""
    params = {"key": key_name, "account_id": account_id}
    _show(call(endpoint, "key.revoke", params), as_json, details)


@cli.command()
@click.argument("account_id", metavar="ACCOUNT")
@click.option(
    "--by",
    type=click.Choice([str(by) for by in GroupBy]),
    help="A statement: groups in place of rows.",
)
@click.option("--since", help="ISO date or time, included; UTC without a zone.")
@click.option("--until", help="ISO date or time, not included; UTC without a zone.")
@click.option(
    "--limit", type=int,
    help="At most so many rows (1 to 1000): the table shows 1000 when absent, programs get all.",
)  # fmt: skip
@click.option("--csv", "as_csv", is_flag=True, help="The rows or groups as CSV.")
@click.option("--json-lines", "as_lines", is_flag=True, help="The rows, one JSON object a line.")
@_JSON
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
    if "groups" in found:
        if as_csv:
            click.echo(statement_text.as_csv(found), nl=False)
        else:
            _show(found, as_json, statement_text.as_text)
    else:
        is_export = (as_json or as_csv or as_lines) and limit is None
        _tell_cut(0 if is_export else found["rows_total"] - len(found["rows"]), "rows")
        rows = export.rows(endpoint, params, found) if is_export else found["rows"]
        if as_csv:
            export.write_csv(rows, sys.stdout)
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


@cli.command()
@_JSON
@click.pass_obj
def audit(endpoint: str, as_json: bool) -> None:
    """Prove every balance and every producer; exit 1 when anything is off."""
    found = call(endpoint, "audit", {})
    _show(found, as_json, admin_text.audit_text)
    sys.exit(ExitCode.DONE if found["ok"] else ExitCode.REFUSED)


@cli.group()
def rates() -> None:
    """The rate card: what usage costs."""


@rates.command("check")
@click.argument("card", required=False, type=_FILE)
@click.option("--since", help="Past usage from this ISO date or time on; all of it when absent.")
@_JSON
@click.pass_obj
def check_rates(endpoint: str, card: Path | None, since: str | None, as_json: bool) -> None:
    """Look for usage without a price by CARD, or by the card in force; exit 1 when there is any.

    Also lists units of known models that no entry names: they cost nothing, or one credit a token.
    """
    try:
        text = None if card is None else read_rate_card(card).text
    except RateCardError as exc:
        raise ConfigError(f"{card}: {exc}", hint="mend the card, then check again") from None
    found = call(endpoint, "rates.check", {"text": text, "since": since})
    _show(found, as_json, admin_text.rates_text)
    sys.exit(ExitCode.DONE if found["ok"] else ExitCode.REFUSED)


@cli.group()
def rejected() -> None:
    """Usage that could not be applied: kept whole, charged once it can be, or dismissed."""


@rejected.command("list")
@click.option("--limit", type=int, help="At most so many (1 to 1000).")
@click.option("--all", "with_retried", is_flag=True, help="Those that were settled since, too.")
@_JSON
@click.pass_obj
def list_rejected(endpoint: str, limit: int | None, with_retried: bool, as_json: bool) -> None:
    """List what is in quarantine, newest first."""
    found = call(endpoint, "rejected.list", {"limit": limit, "all": with_retried})
    _show_list(found, as_json, "rejected", REJECTED_COLUMNS)


@rejected.command("show")
@click.argument("rejected_id", metavar="ID", type=int)
@_JSON
@click.pass_obj
def show_rejected(endpoint: str, rejected_id: int, as_json: bool) -> None:
    """Show one message: what can be read of it, and its bytes in hex."""
    _show(call(endpoint, "rejected.show", {"id": rejected_id}), as_json, admin_text.rejected_text)


@rejected.command("retry")
@click.argument("ids", metavar="ID...", type=int, nargs=-1, required=True)
@_JSON
@click.pass_obj
def retry_rejected(endpoint: str, ids: tuple[int, ...], as_json: bool) -> None:
    """Charge messages that can be applied now, each once; exit 1 when one cannot."""
    found = call(endpoint, "rejected.retry", {"ids": list(ids)})
    _show_settled(found, "charged", RETRIED_COLUMNS, as_json)


@rejected.command("dismiss")
@click.argument("ids", metavar="ID...", type=int, nargs=-1, required=True)
@click.option("--reason", required=True, help="How it was handled; kept with the message.")
@_JSON
@click.pass_obj
def dismiss_rejected(endpoint: str, ids: tuple[int, ...], reason: str, as_json: bool) -> None:
    """Settle messages that were handled otherwise, without a charge; exit 1 when one cannot be."""
    found = call(endpoint, "rejected.dismiss", {"ids": list(ids), "reason": reason})
    _show_settled(found, "dismissed", DISMISSED_COLUMNS, as_json)


def main() -> None:
    """Entry point of ``accountctl``."""
    config.run(cli)


# --- helpers -------------------------------------------------------------------------------------


def _show(found: Any, as_json: bool, as_text: Callable[[Any], str]) -> None:
    click.echo(json.dumps(found, ensure_ascii=False) if as_json else as_text(found))


def _tell_cut(missing: int, what: str) -> None:
    """No list is cut silently: on stderr, whatever stdout is for."""
    if missing > 0:
        hint = _CUT_HINTS.get(what, "see --limit")
        click.echo(f"accountctl: {missing:,} more {what} are not shown; {hint}", err=True)


def _show_list(found: Any, as_json: bool, name: str, columns: tuple[str, ...]) -> None:
    missing = found["total"] - len(found[name])
    _tell_cut(missing, name)
    _show(
        {**found, "truncated": missing > 0}, as_json, lambda x: _rows(x[name], columns, x["total"])
    )


def _rows(rows: list[Mapping[str, Any]], columns: tuple[str, ...], total: int) -> str:
    text = table(rows, columns)
    return text if len(rows) == total else f"{text}\n{len(rows):,} of {total:,}; see --limit"


def _show_settled(
    found: Mapping[str, Any], outcome: str, columns: tuple[str, ...], as_json: bool
) -> NoReturn:
    """What was settled on stdout, what was not and why on stderr; exit 1 when there is such."""
    left = [r for r in found["results"] if r["outcome"] != outcome]
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
    else:
        settled = [r for r in found["results"] if r["outcome"] == outcome]
        if settled:
            click.echo(table(settled, columns))
        for result in left:
            click.echo(f"accountctl: rejected usage {result['id']}: {result['detail']}", err=True)
    sys.exit(ExitCode.REFUSED if left else ExitCode.DONE)
