"""A real accountd with an encrypted database and many accounts, while a scenario needs it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from accountd.clock import now_iso
from accountd.data import database, models
from accountd.data.models import Account, CreditGrant

END_S: Final = 120  # until it has written what has arrived
BIN: Final = Path(sys.executable).parent


def account_of(number: int) -> str:
    """The id of an account; all have the same length."""
    return f"acct_{number:016}"


def environment_of(folder: Path) -> dict[str, str]:
    """The settings of an accountd whose database, key and sockets are in ``folder``."""
    endpoints = {
        f"ACCOUNTD_{name}_ENDPOINT": f"ipc://{folder}/run/{name.lower()}.sock"
        for name in ("USAGE", "RPC", "EVENTS")
    }
    paths = {
        "DB_PATH": str(folder / "accounts.db"),
        "DB_ENCRYPTION_KEY_FILE": str(folder / "db.key"),
    }
    return {**os.environ, **endpoints, **paths}


@contextmanager
def accountd(folder: Path, accounts: int) -> Iterator[tuple[dict[str, str], int]]:
    """A running accountd with many accounts: the environment that finds it, and its process id."""
    key = os.urandom(32).hex()
    (folder / "db.key").touch(0o600)
    (folder / "db.key").write_text(key)
    path = folder / "accounts.db"
    env = environment_of(folder)
    subprocess.run([BIN / "accountd", "migrate"], env=env, check=True, capture_output=True)
    with database.open_for_serving(path, key):
        _create_accounts(accounts)
    with subprocess.Popen([BIN / "accountd", "serve"], env=env, stdout=subprocess.PIPE) as daemon:
        try:
            assert daemon.stdout is not None
            assert daemon.stdout.readline().startswith(b"ready")
            yield env, daemon.pid
        finally:
            daemon.terminate()
            daemon.wait(END_S)


@contextmanager
def serving(env: Mapping[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """A running accountd, from its line ``ready`` on."""
    with subprocess.Popen([BIN / "accountd", "serve"], env=env, stdout=subprocess.PIPE) as daemon:
        try:
            assert daemon.stdout is not None
            assert daemon.stdout.readline().startswith(b"ready")
            yield daemon
        finally:
            if daemon.poll() is None:
                daemon.send_signal(signal.SIGTERM)
                daemon.wait(END_S)


def _create_accounts(accounts: int) -> None:
    now, tokens = now_iso(), 10**9
    with models.database.atomic("IMMEDIATE"):
        for n in range(accounts):
            name = account_of(n)
            Account.create(
                id=name, email=f"{name}@example.org", token_remaining=tokens, created_at=now,
                updated_at=now,
            )  # fmt: skip
            CreditGrant.create(
                id=f"opening-{name}", account_id=name, kind="opening", topup_delta=0,
                token_delta=tokens, created_at=now,
            )  # fmt: skip
