"""What replaying does with changes that are not of this ledger, not whole, or found late."""

import json
from collections.abc import Iterator
from operator import attrgetter
from typing import Any

import pytest

from accountd.data.journal import AdminChange, StoredChanges
from accountd.maintenance.replaying import DivergedError, Replayed, replay
from shared.errors import DatabaseUnusableError
from tests.support.database import create_account, empty_database

AT = "2026-11-30T12:00:00.000Z"


@pytest.fixture
def connection() -> Iterator[Any]:
    """A ledger with an account ``a``: changes 1 and 2."""
    with empty_database() as opened:
        create_account("a", tokens=5)
        yield opened.connection()


class Changes:
    """A journal's, made of any."""

    def __init__(self, connection: Any, *further: AdminChange, database_id: str = "") -> None:
        ledger = StoredChanges(connection)
        self.database_id = database_id or ledger.database_id
        known = [*ledger.changes_after(0), *further]
        self._changes = sorted(known, key=attrgetter("number"))

    def newest(self) -> int:
        """The highest number."""
        return max(change.number for change in self._changes)

    def changes_after(self, number: int) -> Iterator[AdminChange]:
        """Those with higher numbers."""
        return iter(change for change in self._changes if change.number > number)


def grant(number: int, name: str, amount: int = 1) -> AdminChange:
    """A top-up of ``a``."""
    row = {
        "id": name, "account_id": "a", "kind": "topup", "topup_delta": amount, "token_delta": 0,
        "reason": "", "asked": "", "created_at": AT,
    }  # fmt: skip
    return AdminChange(number, AT, "grant", name, json.dumps(row))


def topup_of(connection: Any) -> int:
    """What the account has."""
    ((found,),) = connection.execute("SELECT topup_remaining FROM accounts")
    return int(found)


def test_a_grant_is_applied_once(connection: Any) -> None:
    """Under another number, too."""
    found = replay(connection, Changes(connection, grant(3, "g", 7), grant(4, "g", 7)))
    assert (found.applied, found.already_there, topup_of(connection)) == (2, 1, 7)
    assert replay(connection, Changes(connection)) == Replayed()
    assert topup_of(connection) == 7


def test_the_changes_of_another_ledger_are_refused(connection: Any) -> None:
    """Nothing is changed."""
    other = Changes(connection, grant(3, "g"), database_id="0" * 32)
    with pytest.raises(DatabaseUnusableError, match="another ledger"):
        replay(connection, other)
    assert topup_of(connection) == 0


def test_a_ledger_that_went_its_own_way_is_refused(connection: Any) -> None:
    """The old copy was used without its journal: change 3 is two different ones."""
    source = Changes(connection, grant(3, "theirs"), grant(4, "later"))
    replay(connection, Changes(connection, grant(3, "ours")))
    with pytest.raises(DivergedError, match="number 3"):
        replay(connection, source)


def test_what_a_newer_release_wrote_is_refused(connection: Any) -> None:
    """A column that is not known here, and everything before it."""
    newer = AdminChange(4, AT, "account", "a", json.dumps({"id": "a", "shoe_size": 44}))
    with pytest.raises(DatabaseUnusableError, match="shoe_size"):
        replay(connection, Changes(connection, grant(3, "g"), newer))
    assert topup_of(connection) == 0
    assert StoredChanges(connection).newest() == 2


def test_what_is_lost_is_counted_and_noted(connection: Any) -> None:
    """The journal begins after the backup, or has a gap."""
    found = replay(connection, Changes(connection, grant(5, "g"), grant(7, "h")))
    assert (found.applied, found.lost, found.lost_count) == (2, [(3, 4), (6, 6)], 3)
    rows = connection.execute("SELECT first, last, source FROM missing_changes")
    assert rows.fetchall() == [(3, 4, "journal"), (6, 6, "journal")]


def test_what_is_found_late_fills_the_gap(connection: Any) -> None:
    """Grants count; an older state of a row that changed since does not come back."""
    email = connection.execute("SELECT email FROM accounts").fetchone()[0]
    row = {"id": "a", "email": email, "created_at": AT, "updated_at": AT}
    older, newer = (
        AdminChange(n, AT, "account", "a", json.dumps(row | {"plan_name": plan}))
        for n, plan in ((4, "Old"), (5, "New"))
    )
    replay(connection, Changes(connection, newer))
    replay(connection, Changes(connection, grant(3, "late", 9), older))
    ((plan,),) = connection.execute("SELECT plan_name FROM accounts")
    assert (plan, topup_of(connection)) == ("New", 9)
    assert connection.execute("SELECT count(*) FROM missing_changes").fetchone() == (0,)
    numbers = [change.number for change in StoredChanges(connection).changes_after(0)]
    assert numbers == [1, 2, 3, 4, 5]
