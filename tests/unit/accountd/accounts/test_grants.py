"""What renewals and top-ups give."""

from pathlib import Path

import pytest

from accountd.accounts.grants import Grants, renewed_tokens
from accountd.data import database
from accountd.ledger.changed_accounts import ChangedAccounts
from accountd.request_params import Params, RequestError
from accountd.rpc_types import DebtPolicy
from tests.support.database import TOKENS_BY_DEFAULT_PLAN

RENEWALS = [
    # before, debt, after
    (0, DebtPolicy.KEEP, 1_000),
    (400, DebtPolicy.KEEP, 1_000),
    (9_000, DebtPolicy.KEEP, 1_000),
    (-300, DebtPolicy.KEEP, 700),
    (-5_000, DebtPolicy.KEEP, -4_000),
    (400, DebtPolicy.FORGIVE, 1_000),
    (-300, DebtPolicy.FORGIVE, 1_000),
]


@pytest.mark.parametrize(("before", "debt", "after"), RENEWALS)
def test_a_renewal_sets_the_plans_tokens(before: int, debt: DebtPolicy, after: int) -> None:
    """What was not spent is gone; what is owed stays owed unless it is forgiven."""
    assert renewed_tokens(plan_tokens=1_000, before=before, debt=debt) == after


def test_topups_from_before_are_compared_too(tmp_path: Path) -> None:
    """The migration says of every earlier top-up what was asked."""
    with database.open_for_migrating(tmp_path / "a.db", "ab" * 32) as opened:
        opened.runner.up("0005_digests")
        opened.database.execute_sql("INSERT INTO accounts (id, email) VALUES ('a', 'a')")
        opened.database.execute_sql(
            "INSERT INTO credit_grants (id, account_id, kind, topup_delta, token_delta, created_at)"
            " VALUES ('order', 'a', 'topup', 500, 0, '2026-01-01T00:00:00.000Z')"
        )
        opened.runner.up()
        grants = Grants(ChangedAccounts(), plans=TOKENS_BY_DEFAULT_PLAN)
        again = {"account_id": "a", "grant_id": "order", "amount": 500}
        assert grants.topup(Params(again))["applied"] is False
        with pytest.raises(RequestError, match="grant 'order' exists"):
            grants.topup(Params({**again, "amount": 501}))
