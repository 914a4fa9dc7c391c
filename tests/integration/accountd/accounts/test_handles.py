"""Whose a provider's handle is: accountd's answers, what it keeps and what it forgets."""

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from accountd.accounts.handles import Handles
from accountd.data import models
from accountd.data.retention import MORE_S, PORTION
from accountd.request_params import Params, RequestError
from shared.wire import HANDLES_MAX
from tests.support.database import empty_database

OLD = "2020-01-01T00:00:00.000Z"


@pytest.fixture
def handles() -> Iterator[Handles]:
    """Those of an empty database."""
    with empty_database() as database:
        yield Handles(database.connection(), days=7)


def name(handle: str) -> bytes:
    """What a handle is called here."""
    return hashlib.sha256(handle.encode()).digest()[:16]


def learn(handles: Handles, *pairs: tuple[str, str]) -> None:
    """Handles, each with its account."""
    names, accounts = [name(handle) for handle, _ in pairs], [account for _, account in pairs]
    handles.learn(Params({"names": names, "accounts": accounts}))


def may_use(handles: Handles, handle: str, account_id: str, *, claims: bool = True) -> bool:
    """The answer to a request."""
    params = {"names": [name(handle)], "account_id": account_id, "claims": claims}
    is_allowed = handles.use(Params(params))["is_allowed"]
    assert isinstance(is_allowed, bool)
    return is_allowed


def kept() -> int:
    """How many there are."""
    (count,) = models.database.execute_sql("SELECT count(*) FROM handles").fetchone()
    assert isinstance(count, int)
    return count


def make_old(*names: str) -> None:
    """As if they had been given long ago."""
    for each in names:
        models.database.execute_sql(
            "UPDATE handles SET used_at = ? WHERE name = ?", (OLD, name(each))
        )


def test_a_handle_belongs_to_the_account_it_was_given_to(handles: Handles) -> None:
    """Another account may not use it, whatever is done with what is unknown."""
    learn(handles, ("h1", "alice"), ("h2", "bob"))
    for claims in (True, False):
        assert may_use(handles, "h1", "alice", claims=claims)
        assert may_use(handles, "h2", "bob", claims=claims)
        assert not may_use(handles, "h1", "bob", claims=claims)


def test_the_first_owner_stays(handles: Handles) -> None:
    """Learning is told again after a broken connection, and by who only says so."""
    learn(handles, ("h1", "alice"))
    learn(handles, ("h1", "alice"), ("h1", "bob"))
    assert may_use(handles, "h1", "alice")
    assert not may_use(handles, "h1", "bob")
    assert kept() == 1


def test_an_unknown_handle_becomes_the_first_users_where_it_may(handles: Handles) -> None:
    """And stays unknown where it may not."""
    assert not may_use(handles, "h1", "alice", claims=False)
    assert kept() == 0
    assert may_use(handles, "h1", "alice", claims=True)
    assert not may_use(handles, "h1", "bob", claims=True)


def test_what_nobody_used_for_long_is_forgotten(handles: Handles) -> None:
    """Being used, and being given again, count; being refused to another account does not."""
    learn(handles, *((handle, "alice") for handle in ("used", "given", "asked", "left")))
    make_old("used", "given", "asked", "left")
    assert may_use(handles, "used", "alice")
    learn(handles, ("given", "alice"))
    learn(handles, ("asked", "bob"))
    assert not may_use(handles, "asked", "bob")
    handles.retention.tick(now=0.0)
    assert kept() == 2
    assert not may_use(handles, "asked", "alice", claims=False)
    assert may_use(handles, "used", "alice", claims=False)
    assert may_use(handles, "given", "alice", claims=False)


def test_many_are_forgotten_in_portions(handles: Handles) -> None:
    """None of them keeps the loop long, and between them others are served."""
    names = [str(number) for number in range(PORTION + 1)]
    for begin in range(0, len(names), HANDLES_MAX):
        learn(handles, *((each, "alice") for each in names[begin : begin + HANDLES_MAX]))
    models.database.execute_sql("UPDATE handles SET used_at = ?", (OLD,))
    handles.retention.tick(now=0.0)
    assert kept() == 1
    handles.retention.tick(now=MORE_S / 2)
    assert kept() == 1
    handles.retention.tick(now=MORE_S)
    assert kept() == 0


ODD: list[tuple[str, dict[str, Any]]] = [
    ("learn", {"names": [b"x" * 15], "accounts": ["alice"]}),
    ("learn", {"names": [b"x" * 16], "accounts": []}),
    ("learn", {"names": [b"x" * 16], "accounts": ["alice", "bob"]}),
    ("learn", {"names": [b"x" * 16] * (HANDLES_MAX + 1), "accounts": ["a"] * (HANDLES_MAX + 1)}),
    ("use", {"names": [b"x" * 16, b"y" * 16], "account_id": "alice"}),
    ("use", {"names": [b"x" * 16]}),
    ("use", {"names": [b"x" * 16], "account_id": "alice", "claims": 1}),
]


@pytest.mark.parametrize(("method", "params"), ODD)
def test_what_makes_no_sense_changes_nothing(
    handles: Handles, method: str, params: dict[str, Any]
) -> None:
    """It is refused as a whole."""
    with pytest.raises(RequestError):
        getattr(handles, method)(Params(params))
    assert kept() == 0


def test_to_seek_a_handle_is_no_refusal(handles: Handles) -> None:
    """A gateway asks of several providers which of them issued it."""
    learn(handles, ("h1", "alice"))
    for handle, is_allowed in (("h1", True), ("h2", False)):
        params = {"names": [name(handle)], "account_id": "alice", "is_sought": True}
        assert handles.use(Params(params))["is_allowed"] is is_allowed
    refused = {metric.name: metric for metric in handles.metrics()}["rts_accountd_handles_refused"]
    assert refused.read() == 0
    assert not may_use(handles, "h1", "bob")
    assert refused.read() == 1
