"""Each change that an operator makes is written down with it; nothing that usage writes is."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from accountd.accounts.accounts import Accounts
from accountd.accounts.authorizations import Authorizations
from accountd.accounts.grants import Grants
from accountd.accounts.recalls import Recalls
from accountd.accounts.stored_limits import StoredLimits
from accountd.ledger import group_commit
from accountd.ledger.changed_accounts import ChangedAccounts
from accountd.request_params import Params
from tests.support.database import TOKENS_BY_DEFAULT_PLAN, empty_database

WRITTEN_BY_USAGE = (
    group_commit._UPDATE_BALANCE, group_commit._BEGIN_ESTIMATES, group_commit._UPSERT_PRODUCER,
)  # fmt: skip


@pytest.fixture
def connection() -> Iterator[Any]:
    """An empty ledger."""
    with empty_database() as opened:
        yield opened.connection()


def test_each_admin_change_is_a_row_of_its_own(connection: Any) -> None:
    """In the order of the changes, with the row as it is after each."""
    recalls = Recalls()
    recalls.begin(epoch=1)
    accounts = Accounts(ChangedAccounts(), plans=TOKENS_BY_DEFAULT_PLAN, recalls=recalls)
    grants = Grants(ChangedAccounts(), plans=TOKENS_BY_DEFAULT_PLAN)
    accounts.create(Params({"id": "a", "email": "a@example.org", "tokens": 5}))
    made = accounts.create_key(Params({"account_id": "a", "label": "phone"}))
    hashed = made["key_hash"]
    StoredLimits(recalls=recalls).limit_key(Params({"key": hashed, "sessions": "2"}))
    grants.topup(Params({"account_id": "a", "amount": 7, "grant_id": "g1"}))
    grants.topup(Params({"account_id": "a", "amount": 7, "grant_id": "g1"}))
    grants.renew(Params({"account_id": "a", "plan_name": "Pro", "grant_id": "g2"}))
    accounts.revoke_key(Params({"key": hashed}))
    accounts.delete(Params({"account_id": "a"}))
    assert _written(connection) == [
        (1, "account", "a", "plan_name", "Free"),
        (2, "grant", "opening-a", "token_delta", 5),
        (3, "key", hashed, "limits", "{}"),
        (4, "key", hashed, "limits", '{"sessions": 2}'),
        (5, "grant", "g1", "topup_delta", 7),
        (6, "grant", "g2", "kind", "renewal"),
        (7, "account", "a", "plan_name", "Pro"),
        (8, "key", hashed, "label", "phone"),
        (9, "account", "a", "email", "deleted a"),
    ]


def test_what_is_rolled_back_is_not_written(connection: Any) -> None:
    """The row belongs to the transaction of the change."""
    connection.execute("BEGIN")
    connection.execute("INSERT INTO accounts (id, email) VALUES ('a', 'a@example.org')")
    connection.execute("ROLLBACK")
    assert _written(connection) == []


def test_when_a_key_was_used_is_no_change(connection: Any) -> None:
    """It is written every few seconds."""
    accounts = Accounts(ChangedAccounts(), plans=TOKENS_BY_DEFAULT_PLAN)
    accounts.create(Params({"id": "a", "email": "a@example.org", "tokens": 5}))
    made = accounts.create_key(Params({"account_id": "a", "label": "phone"}))
    before = len(_written(connection))
    authorizations = Authorizations()
    authorizations.authorize(Params({"key_hash": made["key_hash"]}))
    authorizations.write_last_used()
    assert len(_written(connection)) == before


@pytest.mark.parametrize("statement", WRITTEN_BY_USAGE)
def test_what_usage_writes_runs_no_trigger(connection: Any, statement: str) -> None:
    """SQLite compiles none into the statement, so usage is written as fast as without them."""
    names = {
        row[1] for row in connection.execute(f"EXPLAIN {statement}", [None] * _count(statement))
    }
    assert "Program" not in names


def test_an_email_runs_the_trigger(connection: Any) -> None:
    """So that the name of the instruction in the test before is right."""
    rows = connection.execute("EXPLAIN UPDATE accounts SET email = 'x'")
    assert "Program" in {row[1] for row in rows}


def test_each_ledger_has_an_id_of_its_own() -> None:
    """By which the journal of another ledger is told."""
    found = set()
    for _ in range(2):
        with empty_database() as opened:
            ((database_id,),) = opened.connection().execute("SELECT database_id FROM custody")
            found.add(database_id)
    assert len(found) == 2


def _count(statement: str) -> int:
    return 4 if "?4" in statement else statement.count("?")


def _written(connection: Any) -> list[tuple[Any, ...]]:
    """Of each change a column that tells it from the one before."""
    found = []
    for number, subject, name, body in connection.execute(
        "SELECT number, subject, name, body FROM admin_changes ORDER BY number"
    ):
        row = json.loads(body)
        column = _telling(subject, row)
        found.append((number, subject, name, column, row[column]))
    return found


def _telling(subject: str, row: dict[str, Any]) -> str:
    if subject == "account":
        return "email" if row["deleted_at"] else "plan_name"
    if subject == "key":
        return "label" if row["revoked_at"] else "limits"
    return {"topup": "topup_delta", "opening": "token_delta", "renewal": "kind"}[row["kind"]]
