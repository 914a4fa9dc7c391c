"""Stored conversations: which connection may write one, who reads it, and when it is forgotten."""

from collections.abc import Iterator
from typing import Any

import pytest

from accountd.accounts import conversations
from accountd.accounts.conversations import Conversations
from accountd.data import models
from accountd.data.retention import MORE_S
from accountd.request_params import Params, RequestError
from tests.support.database import empty_database

OLD = "2020-01-01T00:00:00.000Z"
A, B, C = b"a" * 16, b"b" * 16, b"c" * 16


@pytest.fixture
def stored() -> Iterator[Conversations]:
    """Those of an empty database."""
    with empty_database() as database:
        yield Conversations(database.connection(), hours=24)


def opened(stored: Conversations, holder: bytes, account: str = "acct", **more: Any) -> Any:
    """The answer to a connection that begins or continues the session ``s``."""
    session = {"account_id": account, "session_id": "s", "holder": holder, **more}
    (answer,) = stored.open(Params({"sessions": [session]}))["sessions"]
    return answer


def store(
    stored: Conversations,
    holder: bytes,
    items: str | None = "said",
    *,
    is_last: bool = False,
    account: str = "acct",
) -> bool:
    """Whether a connection could write what was said."""
    session = {
        "account_id": account, "session_id": "s", "holder": holder, "is_last": is_last,
        "configuration": None if items is None else "configured", "items": items,
    }  # fmt: skip
    return stored.store(Params({"sessions": [session]})) == {"refused": []}


def delete(stored: Conversations, **named: str) -> Any:
    """The answer to a deletion."""
    return stored.delete(Params(named))


def age(stored: Conversations) -> None:
    """All that is stored has not been used for years."""
    models.database.execute_sql("UPDATE sessions SET updated_at = ?", (OLD,))


def metric(stored: Conversations, name: str) -> float:
    """A number of this boot."""
    (found,) = [m for m in stored.metrics() if m.name == f"rts_accountd_conversations_{name}"]
    value = found.read()
    assert isinstance(value, int)
    return value


def test_nothing_is_stored_of_a_new_session(stored: Conversations) -> None:
    """The first connection of a session begins it."""
    answer = opened(stored, A)
    assert answer == {"configuration": "", "items": "", "former": None, "is_live": False}
    assert stored.take_taken_over() == []


def test_another_connection_continues_it(stored: Conversations) -> None:
    """It gets what the one before stored, which no longer may write, and is announced to it."""
    opened(stored, A)
    assert store(stored, A)
    answer = opened(stored, B)
    assert (answer["configuration"], answer["items"]) == ("configured", "said")
    assert (answer["former"], answer["is_live"]) == (A, True)
    (change,) = stored.take_taken_over()
    assert (change.account_id, change.session_id, change.holder) == ("acct", "s", B)
    assert not store(stored, A, "too late")
    assert store(stored, B, "more")
    assert opened(stored, C)["items"] == "more"


def test_the_last_words_of_the_former_one_are_taken_once(stored: Conversations) -> None:
    """It stores them when it hears that another one took over; the newest one reads them."""
    opened(stored, A)
    store(stored, A)
    assert opened(stored, B)["is_live"]
    assert store(stored, A, "last words", is_last=True)
    assert not store(stored, A, "again", is_last=True)
    answer = opened(stored, B, again=True)
    assert (answer["items"], answer["is_live"]) == ("last words", False)
    assert store(stored, B, "more")


def test_last_words_that_come_too_late_are_refused(stored: Conversations) -> None:
    """What the newest one has stored is not overwritten, also when that has ended since."""
    opened(stored, A)
    opened(stored, B)
    assert store(stored, B, "newer", is_last=True)
    assert not store(stored, A, "late", is_last=True)
    assert opened(stored, C)["items"] == "newer"


def test_nothing_is_waited_for_after_last_words(stored: Conversations) -> None:
    """A session that ended before has nothing more to say."""
    opened(stored, A)
    assert store(stored, A)
    assert store(stored, A, None, is_last=True)
    answer = opened(stored, B)
    assert (answer["items"], answer["is_live"]) == ("said", False)


def test_only_the_newest_asks_again(stored: Conversations) -> None:
    """Asking again takes nothing from a connection that is newer still."""
    opened(stored, A)
    opened(stored, B)
    assert opened(stored, A, again=True) is None
    assert store(stored, B)


def test_several_are_opened_together(stored: Conversations) -> None:
    """In the order of the request: of one name the last one is the newest."""
    sessions = [
        {"account_id": "acct", "session_id": name, "holder": holder}
        for name, holder in (("s", A), ("t", B), ("s", C))
    ]
    answers = stored.open(Params({"sessions": sessions}))["sessions"]
    assert [answer["former"] for answer in answers] == [None, None, A]
    assert [change.holder for change in stored.take_taken_over()] == [C]
    assert not store(stored, A)
    assert store(stored, C)


def test_another_account_has_another_session(stored: Conversations) -> None:
    """The same name is another conversation there."""
    opened(stored, A)
    store(stored, A)
    assert opened(stored, B, account="other")["items"] == ""
    assert store(stored, A, "more")
    assert not store(stored, A, "foreign", account="other")


def test_a_restart_of_accountd_changes_nothing(stored: Conversations) -> None:
    """Who may write is in the database."""
    opened(stored, A)
    later = Conversations(models.database.connection())
    assert store(later, A)
    assert not store(later, B)
    assert opened(later, B)["former"] == A
    assert not store(later, A)


def test_what_was_deleted_is_gone_until_it_is_stored_again(stored: Conversations) -> None:
    """A live session may store again; the one before it may not."""
    opened(stored, A)
    opened(stored, B)
    store(stored, B)
    assert delete(stored, account_id="acct") == {"deleted": 1, "is_done": True}
    assert not store(stored, A)
    assert store(stored, B, "again")
    assert opened(stored, C)["items"] == "again"


@pytest.mark.parametrize(
    ("named", "left"),
    [
        ({"account_id": "acct"}, [("other", "s")]),
        ({"session_id": "s"}, []),
        ({"account_id": "other", "session_id": "s"}, [("acct", "s")]),
        ({"account_id": "other", "session_id": "t"}, [("acct", "s"), ("other", "s")]),
    ],
)
def test_a_deletion_names_an_account_or_a_session(
    stored: Conversations, named: dict[str, str], left: list[tuple[str, str]]
) -> None:
    """Both together name one conversation."""
    for account in ("acct", "other"):
        opened(stored, A, account=account)
        store(stored, A, account=account)
    delete(stored, **named)
    rows = models.database.execute_sql(
        "SELECT DISTINCT account_id, session_id FROM sessions ORDER BY 1, 2"
    )
    assert rows.fetchall() == left


def test_a_deletion_of_everything_is_refused(stored: Conversations) -> None:
    """Nothing named is a mistake, not everything."""
    with pytest.raises(RequestError, match="neither"):
        delete(stored)


def test_many_are_deleted_in_portions(
    stored: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Usage must not wait for all of them."""
    monkeypatch.setattr(conversations, "DELETED_MAX", 2)
    sessions = [{"account_id": "acct", "session_id": str(n), "holder": A} for n in range(3)]
    stored.open(Params({"sessions": sessions}))
    assert delete(stored, account_id="acct") == {"deleted": 2, "is_done": False}
    assert delete(stored, account_id="acct") == {"deleted": 1, "is_done": True}


def test_what_was_not_used_for_too_long_is_not_told(stored: Conversations) -> None:
    """Also before it is deleted."""
    opened(stored, A)
    store(stored, A)
    age(stored)
    assert opened(stored, B)["items"] == ""


def test_what_was_not_used_for_too_long_is_deleted(stored: Conversations) -> None:
    """Both rows, and nothing that is younger."""
    opened(stored, A)
    store(stored, A)
    age(stored)
    opened(stored, A, account="other")
    stored.retention.tick(now=0.0)
    assert metric(stored, "expired") == 2
    assert models.database.execute_sql("SELECT account_id FROM sessions").fetchall() == [("other",)]


def test_a_portion_expires_at_a_time(stored: Conversations) -> None:
    """Usage must not wait for all of them."""
    sessions = [
        {"account_id": "acct", "session_id": str(number), "holder": A} for number in range(20)
    ]
    for _ in range(4):
        stored.open(Params({"sessions": sessions}))
        for session in sessions:
            session["session_id"] += "x"
    age(stored)
    stored.retention.tick(now=0.0)
    assert metric(stored, "expired") == conversations.EXPIRED_MAX
    stored.retention.tick(now=MORE_S)
    assert metric(stored, "expired") == 80


def test_rows_of_the_original_system_are_not_deleted_by_age(stored: Conversations) -> None:
    """They were not written here."""
    models.database.execute_sql(
        "INSERT INTO sessions (account_id, session_id, type, data, created_at)"
        " VALUES ('acct', 's', 'CONV', 'hi', '2020-01-01 00:00:00')"
    )
    stored.retention.tick(now=0.0)
    assert opened(stored, A)["items"] == "hi"


@pytest.mark.parametrize(
    "session",
    [
        "text",
        {"session_id": "s", "holder": A},
        {"account_id": "acct", "session_id": "s", "holder": b"short"},
        {
            "account_id": "acct", "session_id": "s", "holder": A, "items": "said",
            "configuration": "x" * (conversations.CONFIGURATION_BYTES_MAX + 1),
        },
    ],
)  # fmt: skip
def test_a_request_that_cannot_be_read_stores_nothing(
    stored: Conversations, session: object
) -> None:
    """None of its sessions is stored."""
    fit = {"account_id": "acct", "session_id": "t", "holder": A, "items": "", "configuration": ""}
    with pytest.raises(RequestError):
        stored.store(Params({"sessions": [fit, session]}))
    assert models.database.execute_sql("SELECT * FROM sessions").fetchall() == []


def test_numbers_count_what_was_done(stored: Conversations) -> None:
    """For ``/metrics``."""
    opened(stored, A)
    opened(stored, B)
    store(stored, B)
    store(stored, A)
    delete(stored, account_id="acct")
    names = ("opened", "stored", "refused", "deleted")
    assert [metric(stored, name) for name in names] == [2, 1, 1, 2]
