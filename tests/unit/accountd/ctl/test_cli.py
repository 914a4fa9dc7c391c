"""What a command of accountctl loads: it is started anew for every one."""

import subprocess
import sys

import pytest

from accountd import rpc_types
from accountd.ctl.cli import cli
from shared import provider_reports
from shared.usage import Kind
from tests.support.paths import ROOT

# Each takes longer to load than click, or half of it, and a command needs none of them.
NEEDLESS = {
    "accountd.ledger", "asyncio", "cryptography", "csv", "email", "http", "importlib.metadata",
    "logging", "msgspec", "peewee", "shared.usage", "shared.wire", "sqlcipher3", "ssl", "structlog",
}  # fmt: skip
NEEDED_BY = {  # one of its formats
    "usage": {"csv"},
    "export": {"csv", "msgspec", "shared.usage"},
}
LOADED = """
import sys
from accountd.ctl.cli import cli
cli.get_command(None, sys.argv[1])
print(*sys.modules)
"""


@pytest.mark.parametrize("command", cli.list_commands(None))
def test_a_command_loads_nothing_needless(command: str) -> None:
    """Nor what another command needs."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, command],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
        env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    loaded = set(done.stdout.split())
    assert "zmq" in loaded
    assert loaded & NEEDLESS <= NEEDED_BY.get(command, set())


def test_what_it_repeats_in_place_of_loading_it() -> None:
    """The modules that say it first load codecs."""
    assert rpc_types.COMMON_KIND == Kind.RESPONSE
    assert rpc_types.REPORT_S == provider_reports.REPORT_S
