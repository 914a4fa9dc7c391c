"""Operators set limits: what is stored, what is shown, and what gateways are told."""

from collections.abc import Iterator
from typing import Any

import pytest

from accountd.accounts.accounts import Accounts
from accountd.accounts.limits import LimitDefaults
from accountd.accounts.recalls import Recalls
from accountd.accounts.stored_limits import StoredLimits
from accountd.data.models import Account, ApiKey
from accountd.ledger.changed_accounts import ChangedAccounts
from accountd.request_params import Params, RequestError
from shared.announcements import Recall, RecallCause
from shared.limits import Limits
from tests.support.database import EPOCH, TOKENS_BY_DEFAULT_PLAN, new_recalls


@pytest.fixture
def recalls() -> Iterator[Recalls]:
    """Of a new database with an account ``acct``."""
    with new_recalls() as found:
        yield found


@pytest.fixture
def limits(recalls: Recalls) -> StoredLimits:
    """By default a key may have nine sessions, and an account any number."""
    return StoredLimits(LimitDefaults(key=Limits(sessions=9)), recalls)


@pytest.fixture
def key(recalls: Recalls) -> Any:
    """A key of the account."""
    accounts = Accounts(ChangedAccounts(), plans=TOKENS_BY_DEFAULT_PLAN, recalls=recalls)
    return accounts.create_key(Params({"account_id": "acct", "label": "k"}))


def held(found: Any, *names: str) -> list[tuple[str, str | None]]:
    """What is shown of some limits: the word, and from where."""
    shown = found["limits"]
    return [(shown[name]["value"], shown[name]["from"]) for name in names]


CHANGES: list[tuple[dict[str, str], tuple[str, str | None]]] = [
    ({}, ("9", "default")),
    ({"sessions": "5"}, ("5", "here")),
    ({"sessions": "none"}, ("none", "here")),
    ({"models": "m"}, ("none", "here")),
    ({"sessions": "default"}, ("9", "default")),
]


def test_a_key_is_limited(limits: StoredLimits, key: Any) -> None:
    """Only what is named changes; what it shows is what holds."""
    for change, shown in CHANGES:
        found = limits.limit_key(Params({"key": key["key_hash"], **change}))
        assert held(found, "sessions") == [shown]
        assert held(limits.show_key(Params({"key": key["key_hash"]})), "sessions") == [shown]
    assert held(found, "models", "providers") == [("m", "here"), ("any", None)]
    effective = limits.of_key(key["key_hash"])
    assert effective is not None
    assert effective.key == Limits(sessions=9, models=("m",))


def test_a_spending_cap_has_its_period(limits: StoredLimits, key: Any) -> None:
    """Which goes with it."""
    ask = {"key": key["key_hash"]}
    limits.limit_key(Params({**ask, "spending": "5/day", "session_tokens": "7"}))
    assert held(limits.show_key(Params(ask)), "spending") == [("5/day", "here")]
    limits.limit_key(Params({**ask, "spending": "default"}))
    assert ApiKey.get().limits == '{"session_tokens": 7}'


def test_an_account_is_limited(limits: StoredLimits) -> None:
    """By its own defaults; what it may spend is its credit."""
    ask = {"account_id": "acct"}
    limits.limit_account(Params({**ask, "session_length": "90m"}))
    shown = limits.show_account(Params(ask))
    assert held(shown, "session-length", "sessions") == [("90m", "here"), ("none", None)]
    assert "spending" not in shown["limits"]
    assert Account.get(Account.id == "acct").limits == '{"session_s": 5400}'
    assert limits.of_account("acct") == Limits(session_s=5_400)


def test_gateways_forget_what_they_were_told(
    limits: StoredLimits, recalls: Recalls, key: Any
) -> None:
    """Of the key or of the account; live sessions go on. Who only looks recalls nothing."""
    found = [
        limits.limit_key(Params({"key": key["key_hash"], "sessions": "5"})),
        limits.limit_account(Params({"account_id": "acct", "models": "any"})),
        limits.limit_key(Params({"key": key["key_hash"]})),
        limits.limit_account(Params({"account_id": "acct"})),
    ]
    assert [answer.get("recall") for answer in found] == [EPOCH + 1, EPOCH + 2, None, None]
    cause, keeps = RecallCause.LIMITS_CHANGED, {"keeps_sessions": True}
    assert recalls.take() == [
        Recall(EPOCH + 1, cause, "acct", key["key_hash"], **keeps),
        Recall(EPOCH + 2, cause, "acct", **keeps),
    ]


def test_of_a_wrong_word_nothing_is_stored(
    limits: StoredLimits, recalls: Recalls, key: Any
) -> None:
    """Nor of the right ones beside it; the limit is named as in the request."""
    asked = {"key": key["key_hash"], "sessions": "5", "session_length": "0h"}
    with pytest.raises(RequestError, match="session_length: found '0h', expected a time"):
        limits.limit_key(Params(asked))
    assert ApiKey.get().limits == "{}"
    assert recalls.take() == []


def test_a_key_may_be_named_by_itself(limits: StoredLimits, key: Any) -> None:
    """An operator has it at hand where it was lost; no answer repeats one."""
    assert limits.limit_key(Params({"key": key["key"], "sessions": "5"}))["recall"]
    unknown = f"{key['key'][:-1]}x"
    with pytest.raises(RequestError, match="no key") as caught:
        limits.show_key(Params({"key": unknown}))
    assert unknown not in str(caught.value)


def test_of_a_deleted_account_nothing_changes(limits: StoredLimits, key: Any) -> None:
    """Nor of its keys. Their limits can still be seen."""
    Accounts(ChangedAccounts(), plans=TOKENS_BY_DEFAULT_PLAN).delete(Params({"account_id": "acct"}))
    with pytest.raises(RequestError, match="was deleted"):
        limits.limit_account(Params({"account_id": "acct", "sessions": "5"}))
    with pytest.raises(RequestError, match="was deleted"):
        limits.limit_key(Params({"key": key["key_hash"], "sessions": "5"}))
    shown = limits.limit_key(Params({"key": key["key_hash"]}))
    assert held(shown, "sessions") == [("9", "default")]
    assert held(limits.limit_account(Params({"account_id": "acct"})), "sessions") == [
        ("none", None)
    ]
