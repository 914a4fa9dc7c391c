"""Which limits hold: those that were set over the defaults, of a key and of its account."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from peewee import IntegrityError

from accountd.accounts.accounts import Accounts
from accountd.accounts.authorizations import Authorizations
from accountd.accounts.limits import LimitDefaults, LimitReader, changed, over
from accountd.accounts.stored_limits import StoredLimits
from accountd.data.models import Account, ApiKey
from accountd.ledger.changed_accounts import ChangedAccounts
from accountd.request_params import Params
from shared.limits import Limits, Period, decode_session_limits
from tests.support.database import TOKENS_BY_DEFAULT_PLAN, create_account, empty_database

DEFAULT = Limits(sessions=9, spending_credits=5, spending_period=Period.DAY, providers=("xai",))
STORED: list[tuple[dict[str, Any], Limits]] = [
    ({}, DEFAULT),
    ({"sessions": None}, Limits(None, spending_credits=5, spending_period=Period.DAY,
                                providers=("xai",))),
    ({"sessions": 2, "spending_credits": 7, "spending_period": "total", "providers": None},
     Limits(sessions=2, spending_credits=7, spending_period=Period.TOTAL)),
    ({"spending_credits": None, "providers": ["azure"], "models": ["m"], "of_later": 5},
     Limits(sessions=9, spending_period=Period.DAY, providers=("azure",), models=("m",))),
]  # fmt: skip


@pytest.mark.parametrize(("stored", "holds"), STORED)
def test_what_is_stored_goes_before_the_default(stored: dict[str, Any], holds: Limits) -> None:
    """None is no limit whatever the default says; what is absent is the default."""
    assert over(DEFAULT, json.dumps(stored)) == holds


def test_a_change_leaves_the_others() -> None:
    """Dropped is what it is about, also where it sets less."""
    stored = '{"sessions": 2, "spending_credits": 5, "spending_period": "day"}'
    spending = ("spending_credits", "spending_period")
    found = changed(stored, dropped=spending, values={"spending_credits": None})
    assert json.loads(found) == {"sessions": 2, "spending_credits": None}
    assert json.loads(changed(found, dropped=spending, values={})) == {"sessions": 2}


@pytest.fixture
def key_hash() -> Iterator[str]:
    """Of a key, whose account allows two sessions of 60 s."""
    with empty_database():
        create_account("acct", tokens=5)
        accounts = Accounts(ChangedAccounts(), plans=TOKENS_BY_DEFAULT_PLAN)
        found = accounts.create_key(Params({"account_id": "acct", "label": "k"}))["key_hash"]
        Account.update(limits='{"sessions": 2, "session_s": 60}').execute()
        yield str(found)


def test_what_holds_for_a_key(key_hash: str) -> None:
    """By its hash, with its account's; the setting holds where nothing is stored."""
    limits = StoredLimits(LimitDefaults(key=Limits(session_s=90)))
    found = limits.of_key(key_hash)
    assert found is not None
    assert (found.key, found.account) == (Limits(session_s=90), Limits(sessions=2, session_s=60))
    assert found.session == {"session_s": 60}
    assert limits.of_account("acct") == found.account
    assert limits.of_key("none") is limits.of_account("none") is None


def test_an_authorization_has_the_limits_of_the_session(key_hash: str) -> None:
    """Those that hold now, and for whoever is not limited an empty map."""
    ApiKey.update(limits='{"models": ["m"]}').execute()
    authorizations = Authorizations(limits=LimitReader())
    ask = Params({"key_hash": key_hash})
    found = decode_session_limits(authorizations.authorize(ask)["limits"])
    assert (found.session_s, found.models) == (60, ("m",))
    ApiKey.update(limits="{}").execute()
    Account.update(limits="{}").execute()
    assert authorizations.authorize(ask)["limits"] == {}


def test_the_database_takes_only_json(key_hash: str) -> None:
    """It is read for every session."""
    assert key_hash
    for table in (Account, ApiKey):
        with pytest.raises(IntegrityError, match="CHECK"):
            table.update(limits="{").execute()
