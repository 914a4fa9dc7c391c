"""Accounts of before, and deleted ones, in a real database."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from accountd.accounts.accounts import Accounts
from accountd.accounts.stored_limits import StoredLimits
from accountd.data import database
from accountd.ledger.changed_accounts import ChangedAccounts
from accountd.reports.audit import audit
from accountd.reports.queries import list_accounts
from accountd.request_params import Params, RequestError
from tests.support.database import KEY, TOKENS_BY_DEFAULT_PLAN

BEFORE = "0016_drained_providers"


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[Accounts]:
    """Three accounts as the release before took them, and a key of the first."""
    with database.open_for_migrating(tmp_path / "a.db", KEY) as opened:
        opened.runner.up(BEFORE)
        for account, email in (("an old one", "Me@x.org"), ("b", "me@x.org"), ("c", "none")):
            opened.database.execute_sql(
                "INSERT INTO accounts (id, email, token_remaining) VALUES (?, ?, 0)",
                (account, email),
            )
        opened.database.execute_sql(
            "INSERT INTO api_keys (key_hash, account_id, key_indicator, label)"
            " VALUES ('hash', 'an old one', 'rsliv…00000', 'old')"
        )
        opened.runner.up()
        yield Accounts(ChangedAccounts(), plans=TOKENS_BY_DEFAULT_PLAN)


def ask(answer: Any, **params: object) -> Any:
    """What a request is answered."""
    return answer(Params(params))


def test_accounts_of_before_stay_as_they_are(accounts: Accounts) -> None:
    """With ids and emails that are refused for new ones; they can be changed and deleted."""
    assert ask(StoredLimits().show_account, account_id="an old one")["email"] == "Me@x.org"
    assert ask(accounts.set_email, account_id="c", email="c@x.org")["email"] == "c@x.org"
    with pytest.raises(RequestError, match="the account 'b' has the email"):
        ask(accounts.set_email, account_id="an old one", email="ME@x.org")
    assert ask(accounts.delete, account_id="an old one")["status"] == "deleted"
    with pytest.raises(RequestError, match="the account 'an old one' was deleted at"):
        ask(accounts.enable, account_id="an old one")


def test_an_email_is_free_when_the_last_account_that_has_it_is_deleted(accounts: Accounts) -> None:
    """Two had it, in different letters; one account has it again afterwards."""
    for account in ("an old one", "b"):
        with pytest.raises(RequestError, match="has the email"):
            ask(accounts.create, id="new", email="me@X.org")
        ask(accounts.delete, account_id=account)
    assert ask(accounts.create, id="new", email="me@X.org")["id"] == "new"
    listed = ask(list_accounts, search="me@x", all=True)["accounts"]
    assert sorted(x["id"] for x in listed) == ["an old one", "b", "new"]
    assert ask(audit)["drift"] == [], "accounts of before have no grants, and no balance"


def test_deleting_again_changes_nothing(accounts: Accounts) -> None:
    """Neither its time nor that of its keys, and no session ends again."""
    deleted = ask(accounts.delete, account_id="an old one")
    assert deleted.pop("recall")
    revoked = ask(accounts.revoke_key, key="hash")["revoked_at"]
    assert revoked == deleted["deleted_at"]
    assert ask(accounts.delete, account_id="an old one") == deleted


def test_the_file_refuses_a_deleted_account_that_is_active(accounts: Accounts) -> None:
    """Whatever the code does."""
    ask(accounts.delete, account_id="b")
    execute = database.models.database.execute_sql
    for change in ("status = 1", "deleted_email = NULL", "deleted_at = NULL"):
        with pytest.raises(Exception, match="CHECK constraint failed"):
            execute(f"UPDATE accounts SET {change} WHERE id = 'b'")
