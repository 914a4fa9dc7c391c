"""When keys were last used: kept in memory by one thread, stored by another."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import peewee
import pytest

from accountd.accounts import authorizations as module
from accountd.accounts.accounts import Accounts
from accountd.accounts.authorizations import Authorizations
from accountd.data import models
from accountd.data.models import ApiKey
from accountd.ledger.changed_accounts import ChangedAccounts
from accountd.request_params import Params, RequestError
from tests.support.database import TOKENS_BY_DEFAULT_PLAN, create_account, empty_database

EARLIER, LATER = "2026-01-01T00:00:00.000Z", "2026-01-01T00:00:05.000Z"


@pytest.fixture
def keys() -> Iterator[list[str]]:
    """The hashes of two keys of an account with credit."""
    with empty_database():
        create_account("acct", tokens=5)
        accounts = Accounts(ChangedAccounts(), plans=TOKENS_BY_DEFAULT_PLAN)
        made = [accounts.create_key(Params({"account_id": "acct", "label": "k"})) for _ in range(2)]
        yield [key["key_hash"] for key in made]


def last_used(key_hash: str) -> Any:
    """What is stored."""
    return ApiKey.get(ApiKey.key_hash == key_hash).last_used_at


def test_the_last_use_of_a_key_is_stored(keys: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest of several, and of no other key."""
    authorizations = Authorizations()
    for moment in (EARLIER, LATER):
        monkeypatch.setattr(module, "now_iso", lambda moment=moment: moment)
        authorizations.authorize(Params({"key_hash": keys[0]}))
    authorizations.write_last_used()
    assert [last_used(key) for key in keys] == [LATER, None]


def test_a_full_disk_keeps_them_for_the_next_time(
    keys: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was used meanwhile is newer than what could not be stored."""
    authorizations = Authorizations()
    monkeypatch.setattr(module, "now_iso", lambda: EARLIER)
    for key in keys:
        authorizations.authorize(Params({"key_hash": key}))

    def full(*_arguments: Any) -> Any:
        monkeypatch.undo()
        monkeypatch.setattr(module, "now_iso", lambda: LATER)
        authorizations.authorize(Params({"key_hash": keys[1]}))
        raise peewee.OperationalError("database or disk is full")

    monkeypatch.setattr(peewee.DatabaseProxy, "atomic", full)
    with pytest.raises(peewee.OperationalError):
        authorizations.write_last_used()
    authorizations.write_last_used()
    assert [last_used(key) for key in keys] == [EARLIER, LATER]


def test_no_use_is_lost_between_two_threads(keys: list[str]) -> None:
    """One authorizes while the other stores: what came after the last call comes with the next."""
    authorizations, is_done = Authorizations(), threading.Event()

    def authorize() -> None:
        models.database.connect(reuse_if_open=True)
        for _ in range(200):
            authorizations.authorize(Params({"key_hash": keys[0]}))
        authorizations.authorize(Params({"key_hash": keys[1]}))
        models.database.close()
        is_done.set()

    thread = threading.Thread(target=authorize)
    thread.start()
    while not is_done.is_set():
        authorizations.write_last_used()
    thread.join()
    authorizations.write_last_used()
    assert all(last_used(key) for key in keys)


def test_a_key_with_a_cap_hears_what_is_left(keys: list[str]) -> None:
    """And one that has spent it is refused; one without hears nothing of it."""
    capped, free = keys
    ApiKey.update(limits='{"spending_credits": 9}').where(ApiKey.key_hash == capped).execute()
    authorizations = Authorizations()
    assert authorizations.authorize(Params({"key_hash": capped}))["spending_left"] == 9
    assert "spending_left" not in authorizations.authorize(Params({"key_hash": free}))
    models.database.execute_sql("INSERT INTO usage_keys VALUES (1, ?)", (capped,))
    day = time.time_ns() // (86_400 * 10**9)
    models.database.execute_sql("INSERT INTO key_spending VALUES (1, ?, 9)", (day,))
    with pytest.raises(RequestError) as refused:
        authorizations.authorize(Params({"key_hash": capped}))
    assert refused.value.code == "spending_limit_reached"
    assert 0 < (refused.value.retry_after_s or 0) <= 31 * 86_400 + 1
