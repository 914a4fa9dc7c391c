"""A real encrypted database for tests that need no daemon."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from accountd.accounts.accounts import Accounts
from accountd.accounts.plans import DEFAULT_PLANS, parse_plans
from accountd.accounts.recalls import Recalls
from accountd.data import database
from accountd.ledger.changed_accounts import ChangedAccounts
from accountd.request_params import Params

KEY = "ab" * 32
EPOCH = 1_000
TOKENS_BY_DEFAULT_PLAN = parse_plans(DEFAULT_PLANS)


@contextmanager
def empty_database() -> Iterator[Any]:
    """A file at the newest schema."""
    with (
        TemporaryDirectory() as folder,
        database.open_for_migrating(Path(folder) / "a.db", KEY) as opened,
    ):
        opened.runner.up()
        yield opened.database


def create_account(account: str, *, tokens: int, topup: int = 0) -> None:
    """An account in the open database."""
    asked = {"email": f"{account}@example.org", "id": account, "tokens": tokens, "topup": topup}
    Accounts(ChangedAccounts(), plans=TOKENS_BY_DEFAULT_PLAN).create(Params(asked))


@contextmanager
def new_recalls() -> Iterator[Recalls]:
    """Those of a new database with an account ``acct``, in the boot ``EPOCH``."""
    with empty_database():
        create_account("acct", tokens=5)
        found = Recalls()
        found.begin(epoch=EPOCH)
        yield found
