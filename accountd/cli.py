"""The command ``accountd``."""

import importlib
import sys
from typing import Final

import click

from accountd import app
from accountd.accounts.conversations import HOURS_DEFAULT
from accountd.accounts.handles import DAYS_DEFAULT
from accountd.accounts.plans import DEFAULT_PLANS
from accountd.commands.options import JOURNAL
from accountd.config import load, load_database
from accountd.data import database, migrating
from accountd.ledger.estimates import UNCHARGED_DEFAULT
from accountd.maintenance.backup_schedule import EVERY_DEFAULT, KEEP_DEFAULT
from shared import config, core_dumps, logs
from shared.config import setting
from shared.file_descriptors import raise_limit
from shared.progress import TerminalProgress

_DB_PATH = setting(
    "DB_PATH",
    default="var/accounts.db",
    help="The encrypted database. Its key: DB_ENCRYPTION_KEY_FILE or DB_ENCRYPTION_KEY.",
)


# The further commands: the module of ``accountd.commands`` that has each.
_MODULE_BY_COMMAND: Final[dict[str, str]] = {
    "archive": "prune",
    "backup": "backup",
    "follow": "continuous_copy",
    "promote": "continuous_copy",
    "prune": "prune",
    "rekey": "rekey",
    "ship": "continuous_copy",
    "standby": "continuous_copy",
    "restore": "restore",
    "verify": "verify",
}


class Commands(click.Group):
    """The commands of this module, and the further ones, each loaded when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names."""
        return sorted([*super().list_commands(ctx), *_MODULE_BY_COMMAND])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name; None where there is none."""
        if cmd_name not in _MODULE_BY_COMMAND:
            return super().get_command(ctx, cmd_name)
        module = importlib.import_module(f"accountd.commands.{_MODULE_BY_COMMAND[cmd_name]}")
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=Commands)
@click.version_option(package_name="realtime-switch")
def cli() -> None:
    """Own the accounts: apply usage, answer authorization."""


@cli.command()
@_DB_PATH
@setting(
    "ACCOUNTD_USAGE_ENDPOINT",
    default=config.DEFAULT_USAGE_ENDPOINT,
    help="Where usage arrives: ipc://PATH or tcp://127.0.0.1:PORT.",
)
@setting(
    "ACCOUNTD_RPC_ENDPOINT",
    default=config.DEFAULT_RPC_ENDPOINT,
    help="Where requests arrive: ipc://PATH or tcp://127.0.0.1:PORT.",
)
@setting(
    "ACCOUNTD_EVENTS_ENDPOINT",
    default=config.DEFAULT_EVENTS_ENDPOINT,
    help="Where watermarks are announced: ipc://PATH or tcp://127.0.0.1:PORT.",
)
@JOURNAL
@setting(
    "ACCOUNTD_CHARGE_ESTIMATES",
    "--charge-estimates",
    default="no",
    help="yes: usage that a provider never reported is charged by its estimate; no: recorded only.",
)
@setting(
    "ACCOUNTD_ESTIMATES_UNCHARGED_MAX",
    "--estimates-uncharged-max",
    default=str(UNCHARGED_DEFAULT),
    help="Estimated responses of an account in an hour that are not charged; once it has more, its"
    " estimates are charged.",
)
@setting(
    "ACCOUNTD_HANDLES_DAYS",
    default=str(DAYS_DEFAULT),
    help="Days after its last use for which the owner of a provider's handle is stored.",
)
@setting(
    "ACCOUNTD_CONVERSATIONS_HOURS",
    default=str(HOURS_DEFAULT),
    help="Hours after its last use for which a stored conversation is kept.",
)
@setting(
    "ACCOUNTD_RATE_CARD",
    help="What usage costs, a TOML file; SIGHUP reads it anew. Absent: one credit for each token.",
)
@setting(
    "ACCOUNTD_PLANS",
    default=DEFAULT_PLANS,
    help="The plans and the tokens that each one gives: NAME=TOKENS,NAME=TOKENS.",
)
@setting(
    "ACCOUNTD_KEY_LIMITS",
    help="What each key may do at most, unless accountctl key limit says otherwise, e.g."
    " sessions=20,new-sessions=60,session-length=2h,spending=20000/month. Absent: anything.",
)
@setting(
    "ACCOUNTD_ACCOUNT_LIMITS",
    help="The same of each account, its keys together; see accountctl account limit.",
)
@setting(
    "ACCOUNTD_WEBHOOK_URL",
    help="The URL to which low-credit warnings are sent, https://HOST/PATH. Its secret:"
    " ACCOUNTD_WEBHOOK_SECRET_FILE or ACCOUNTD_WEBHOOK_SECRET.",
)
@setting(
    "ACCOUNTD_BACKUP_DIR",
    "--backup-dir",
    help="A folder for backups that the daemon makes by itself. Absent: it makes none.",
)
@setting(
    "ACCOUNTD_BACKUP_EVERY",
    "--every",
    default=EVERY_DEFAULT,
    help="The time from one of these backups to the next: 1m to 7d.",
)
@setting(
    "ACCOUNTD_BACKUP_KEEP",
    "--keep",
    default=str(KEEP_DEFAULT),
    help="How many of them are kept; the oldest beyond that are removed after a new one.",
)
@setting("ACCOUNTD_OPS_LISTEN", help="A port for /healthz and /readyz, HOST:PORT.")
@setting("LOG_LEVEL", default="INFO", help="DEBUG, INFO, WARNING or ERROR.")
@setting("LOG_FORMAT", default="logfmt", help="logfmt or json, on stderr.")
def serve(**settings: str | None) -> None:
    """Serve until SIGTERM; usage that has arrived by then is committed."""
    core_dumps.forbid()
    loaded = load(settings)
    logs.configure(service="accountd", level=loaded.log_level, as_json=loaded.log_as_json)
    raise_limit()
    sys.exit(app.run(loaded))


@cli.command()
@_DB_PATH
@click.option(
    "--copy/--no-copy",
    "makes_copy",
    default=True,
    show_default=True,
    help="Copy the database before it changes, to <DB_PATH>.before-NNNN, where the disk has room.",
)
def migrate(*, makes_copy: bool, **settings: str | None) -> None:
    """Create the database, or bring it to the newest schema."""
    core_dumps.forbid()
    loaded = load_database(settings)
    applied = 0
    with TerminalProgress() as progress, database.errors_translated(loaded.path):

        def note(line: str) -> None:
            progress.clear()
            click.echo(line, err=True)

        for name in migrating.migrate(
            loaded.path, loaded.key, makes_copy=makes_copy, tell=progress.tell, note=note
        ):
            applied += 1
            progress.clear()
            click.echo(f"applied {name}")
    if not applied:
        click.echo("up to date")


def main() -> None:
    """Entry point of ``accountd``."""
    config.run(cli)
