"""Commands for a continuous copy: ``follow``, ``standby``, ``promote``; ``ship`` is internal."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from accountd.config import load_database
from accountd.data import database
from accountd.maintenance.following import follower, promoting, shipping
from shared import core_dumps, logs
from shared.config import setting

_DEFAULT_PATH = "var/accounts.db"
_DESTINATION = setting(
    "DB_PATH", default=_DEFAULT_PATH, help="The standby's file, unless DEST names one."
)


@click.command()
@click.argument("source")
@click.argument("dest", required=False)
@_DESTINATION
@click.option(
    "--rsh", default="ssh -T", show_default=True, help="What reaches the HOST of HOST:PATH."
)
@click.option(
    "--remote-command", default="accountd", show_default=True,
    help="accountd on that host, with the settings of its key, e.g."
    " 'env DB_ENCRYPTION_KEY_FILE=/etc/rts/db.key accountd'.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Log in JSON.")
def follow(
    source: str, dest: str | None, db_path: str, rsh: str, remote_command: str, *, as_json: bool
) -> None:
    """Keep DEST a standby of SOURCE, a database that accountd serves: PATH or HOST:PATH.

    Needs no key here, and no change there. Runs until SIGTERM.
    """
    core_dumps.forbid()
    logs.configure(service="accountd", level="INFO", as_json=as_json)
    path = Path(dest or db_path).absolute()
    follower.follow(follower.Source.parse(source, rsh=rsh, remote_command=remote_command), path)


@click.command()
@click.argument("dest", required=False)
@_DESTINATION
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def standby(dest: str | None, db_path: str, *, as_json: bool) -> None:
    """Show how far a standby is behind; exits 1 when it is not following."""
    status = follower.read_status(Path(dest or db_path).absolute())
    if as_json:
        click.echo(json.dumps(status))
    else:
        for line in _status_lines(status):
            click.echo(line)
    sys.exit(0 if status["is_running"] and status["state"] == "following" else 1)


@click.command()
@click.argument("path")
def ship(path: str) -> None:
    """Send a database to accountd follow, which starts this by itself; not for terminals."""
    core_dumps.forbid()
    logs.configure(service="accountd", level="WARNING", as_json=False)
    loaded = load_database({"db_path": path})
    shipping.ship(loaded.path, loaded.key)


@click.command()
@click.argument("dest", required=False)
@_DESTINATION
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def promote(dest: str | None, db_path: str, *, as_json: bool) -> None:
    """Make the standby DEST the primary: stop its follower, apply what it has, check every page."""
    core_dumps.forbid()
    loaded = load_database({"db_path": dest or db_path})
    path = loaded.path.absolute()
    with database.errors_translated(path):
        found = promoting.promote(path, loaded.key, say=lambda line: click.echo(line, err=True))
    if as_json:
        click.echo(json.dumps(promoting.as_json(found)))
        return
    for line in _promotion_lines(found):
        click.echo(line)


def _status_lines(status: dict[str, Any]) -> list[str]:
    lines = [
        f"source          {status['source']}",
        f"state           {status['state']}" + ("" if status["is_running"] else " (not running)"),
        f"complete as of  {_time(status['complete_as_of'])}",
    ]
    if status["lag_s"] is not None:
        lines.append(
            f"lag             {status['lag_s']:.2f} s, at most {status['lag_s_max']:.2f} s"
        )
        lines.append(f"behind          {status['behind_bytes']:,} bytes")
    if status.get("copied_blocks"):
        done, total = status["copied_blocks"]
        lines.append(f"copied          {done / max(total, 1):.0%}")
    if status.get("trouble"):
        lines.append(f"trouble         {status['trouble']}")
    return lines


def _promotion_lines(found: promoting.Promotion) -> list[str]:
    holds = found.found
    lag = found.last_lag_s
    before = "" if lag is None else f", {lag:.2f} s before the follower's end"
    lines = [
        f"promoted {found.path} in {found.seconds:.1f} s",
        f"  complete as of   {_time(found.complete_as_of)} by the primary's clock{before}",
        f"  applied          {found.frames:,} pages of the log; every page was checked",
        f"  holds            {holds.accounts:,} accounts, usage up to row {holds.last_usage_row:,},"
        f" {holds.grants:,} grants (the last at {holds.last_grant_at or '-'}),"
        f" changes up to {holds.last_change:,}",
    ]
    lines += [
        f"  watermark        {producer.lower()} {through:,}, seen {seen}"
        for producer, through, seen in holds.watermarks
    ]
    more = holds.producers - len(holds.watermarks)
    if more > 0:
        lines.append(f"  watermark        and {more:,} more producers")
    lines.append(
        f"  fenced           {found.source} is not served any more"
        if found.is_fenced
        else f"  not fenced       see that accountd does not serve {found.source} again"
    )
    lines += [
        "What was answered after that time may be missing. Gateways send their usage again by"
        " themselves;",
        "grants, accounts and keys have to be compared with what was asked for since then.",
        f"Next: accountd serve --db-path {found.path}; then accountctl audit",
    ]
    return lines


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "never"
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
