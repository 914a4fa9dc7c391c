"""What operators take back: written with its cause, numbered, and told to gateways that ask."""

from collections.abc import Iterator
from typing import Any

import peewee
import pytest

from accountd.accounts.accounts import Accounts
from accountd.accounts.authorizations import Authorizations
from accountd.accounts.recalls import RECALLS_MAX, Recalls
from accountd.ledger.changed_accounts import ChangedAccounts
from accountd.request_params import Params, RequestError
from shared.announcements import Recall, RecallCause, decode_recall
from tests.support.database import EPOCH, TOKENS_BY_DEFAULT_PLAN, new_recalls


@pytest.fixture
def recalls() -> Iterator[Recalls]:
    """Of a new database with an account ``acct``."""
    with new_recalls() as found:
        yield found


@pytest.fixture
def accounts(recalls: Recalls) -> Accounts:
    """The requests that take something back."""
    return Accounts(ChangedAccounts(), plans=TOKENS_BY_DEFAULT_PLAN, recalls=recalls)


def new_key(accounts: Accounts, **options: Any) -> str:
    """The hash of a new key."""
    asked = {"account_id": "acct", "label": "k", **options}
    return str(accounts.create_key(Params(asked))["key_hash"])


def ask(recalls: Recalls, since: int | None) -> tuple[int, list[Recall]]:
    """What a gateway hears."""
    answer = recalls.since(Params({"since": since, "gateway": "g", "ended": []}))
    return answer["mark"], [decode_recall(frames) for frames in answer["recalls"]]


def test_a_revoked_key_is_recalled(accounts: Accounts, recalls: Recalls) -> None:
    """Announced once, and told to whoever asks from before it."""
    key_hash = new_key(accounts)
    answer = accounts.revoke_key(Params({"key": key_hash}))
    recall = Recall(EPOCH + 1, RecallCause.KEY_REVOKED, "acct", key_hash)
    assert answer["recall"] == recall.number
    assert (recalls.take(), recalls.take()) == ([recall], [])
    assert ask(recalls, EPOCH) == (EPOCH + 1, [recall])
    assert ask(recalls, EPOCH + 1) == (EPOCH + 1, [])
    assert ask(recalls, None) == (EPOCH + 1, [])


def test_a_key_that_is_revoked_again_is_recalled_again(
    accounts: Accounts, recalls: Recalls
) -> None:
    """Its sessions may have been kept; the time stays that of the first."""
    key_hash = new_key(accounts)
    first = accounts.revoke_key(Params({"key": key_hash, "keeps_sessions": True}))
    second = accounts.revoke_key(Params({"key": key_hash}))
    assert first["revoked_at"] == second["revoked_at"]
    assert [recall.keeps_sessions for recall in recalls.take()] == [True, False]


def test_disabling_and_deleting_recall_an_account(accounts: Accounts, recalls: Recalls) -> None:
    """Deleting it a second time changes nothing."""
    accounts.disable(Params({"account_id": "acct"}))
    accounts.enable(Params({"account_id": "acct"}))
    accounts.delete(Params({"account_id": "acct"}))
    assert "recall" not in accounts.delete(Params({"account_id": "acct"}))
    assert recalls.take() == [
        Recall(EPOCH + number, RecallCause.ACCOUNT_DISABLED, "acct") for number in (1, 2)
    ]


ENDED = [
    # what is asked; which of account, key and session the recall names
    ({"account_id": "acct"}, ("acct", False, "")),
    ({"session_id": "s"}, ("", False, "s")),
    ({"key": True}, ("acct", True, "")),
    ({"key": True, "account_id": "acct", "session_id": "s"}, ("acct", True, "s")),
]


@pytest.mark.parametrize(("asked", "names"), ENDED)
def test_sessions_are_ended_by_their_names(
    accounts: Accounts, recalls: Recalls, asked: dict[str, Any], names: tuple[str, bool, str]
) -> None:
    """A key stands for its account as well."""
    key_hash = new_key(accounts)
    if "key" in asked:
        asked = {**asked, "key": key_hash}
    accounts.end_sessions(Params(asked))
    account, has_key, session = names
    named = (account, key_hash if has_key else "", session)
    assert recalls.take() == [Recall(EPOCH + 1, RecallCause.SESSION_ENDED, *named)]


@pytest.mark.parametrize(
    ("asked", "code"),
    [({}, "bad_request"), ({"account_id": "none"}, "not_found"), ({"key": "none"}, "not_found")],
)
def test_what_names_nothing_ends_nothing(
    accounts: Accounts, recalls: Recalls, asked: dict[str, Any], code: str
) -> None:
    """A mistyped account is no answer of success."""
    with pytest.raises(RequestError) as refused:
        accounts.end_sessions(Params(asked))
    assert refused.value.code == code
    assert recalls.take() == []


def test_what_is_not_committed_is_not_told(recalls: Recalls) -> None:
    """The cause and the recall are one transaction."""

    def fail() -> None:
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        recalls.write("any", account_id="acct", change=fail)
    assert (recalls.take(), recalls.mark) == ([], EPOCH)
    assert ask(recalls, 0) == (EPOCH, [])


def test_many_are_told_in_portions(recalls: Recalls) -> None:
    """Each answer says up to which number it is complete."""
    for _ in range(RECALLS_MAX + 1):
        recalls.write("any", account_id="acct")
    mark, first = ask(recalls, EPOCH)
    assert (mark, len(first)) == (EPOCH + RECALLS_MAX, RECALLS_MAX)
    mark, rest = ask(recalls, mark)
    assert (mark, len(rest)) == (EPOCH + RECALLS_MAX + 1, 1)


@pytest.mark.parametrize(("epoch", "number"), [(2_000, 2_001), (900, EPOCH + 2)])
def test_numbers_rise_over_boots(recalls: Recalls, epoch: int, number: int) -> None:
    """Above the epoch, so above those that a restored backup has forgotten; and above what is
    stored, if the clock went back.
    """
    recalls.write("any", account_id="acct")
    later = Recalls()
    later.begin(epoch=epoch)
    assert later.write("any", account_id="acct").number == number


def test_an_authorization_carries_the_mark(accounts: Accounts, recalls: Recalls) -> None:
    """What was taken back before it is not about it; its key's expiry is known with it."""
    at = "2999-01-01T00:00:00Z"
    keys = [
        new_key(accounts),
        new_key(accounts, expires_at=at),
        new_key(accounts, expires_at=at, keeps_sessions=True),
    ]
    recalls.write("any", account_id="acct")
    authorizations = Authorizations(recalls)
    found = [authorizations.authorize(Params({"key_hash": key})) for key in keys]
    assert {answer["mark"] for answer in found} == {EPOCH + 1}
    forever, *until = (answer["expires_in_ms"] for answer in found)
    assert forever is None
    assert min(until) > 900 * 365 * 86_400_000
    assert [answer["keeps_sessions"] for answer in found] == [False, False, True]


def test_a_recall_names_something(recalls: Recalls) -> None:
    """The database itself refuses one that would end everything."""
    with pytest.raises(peewee.IntegrityError, match="CHECK"):
        recalls.write("any")
