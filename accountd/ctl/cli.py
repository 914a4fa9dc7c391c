"""The command ``accountctl``: accounts, keys, usage and the audit, through the running daemon."""

import importlib
from typing import Final

import click

from accountd.ctl import profile
from shared import config
from shared.config import Checker, setting

# Where each command is: only the one that is asked for is loaded.
_MODULE_BY_COMMAND: Final = {
    "account": "accounts",
    "audit": "proofs",
    "backup": "backup",
    "export": "exporting.command",
    "key": "keys",
    "providers": "providers",
    "rates": "proofs",
    "rejected": "rejected",
    "sessions": "sessions",
    "usage": "usage",
}


class Commands(click.Group):
    """The commands, each loaded when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        """Their names."""
        return sorted(_MODULE_BY_COMMAND)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of this name; None where there is none."""
        if cmd_name not in _MODULE_BY_COMMAND:
            return None
        module = importlib.import_module(f"accountd.ctl.{_MODULE_BY_COMMAND[cmd_name]}")
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=Commands)
@click.version_option(package_name="realtime-switch")
@setting(
    "ACCOUNTD_RPC_ENDPOINT",
    help="The daemon's request socket: ipc://PATH or tcp://127.0.0.1:PORT. Absent: that of this"
    " folder (var/run/rpc.sock), else the one that make up has noted.",
)
@click.pass_context
def cli(context: click.Context, /, accountd_rpc_endpoint: str | None) -> None:
    """Manage accounts, keys and credits. Talks to the running accountd."""
    if accountd_rpc_endpoint is None:
        accountd_rpc_endpoint = profile.endpoint()
    checker = Checker({"accountd_rpc_endpoint": accountd_rpc_endpoint})
    context.obj = checker.value("ACCOUNTD_RPC_ENDPOINT", config.endpoint)
    checker.finish()


def main() -> None:
    """Entry point of ``accountctl``."""
    config.run(cli)
