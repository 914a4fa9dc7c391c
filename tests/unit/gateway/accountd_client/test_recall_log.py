"""What was taken back, as far as it was heard, and which remembered authorizations it is about."""

from typing import Final

import pytest

from gateway.accountd_client import recall_log as module
from gateway.accountd_client.authorizations import Authorization
from gateway.accountd_client.recall_log import RecallLog
from shared.announcements import Recall, RecallCause

REVOKED: Final = Recall(7, RecallCause.KEY_REVOKED, "a", "k")


def authorization(mark: int, account: str = "a") -> Authorization:
    """One that was given when ``mark`` was the newest recall."""
    return Authorization(account, "rsliv…x", 5, 7, "k", mark)


def test_a_recall_is_news_once() -> None:
    """It is announced, and told again in an answer."""
    log = RecallLog()
    log.admitted(5)
    assert log.announced(REVOKED)
    assert not log.announced(REVOKED)
    assert log.answered(5, 7, [REVOKED]) == []
    assert log.heard == 7


def test_an_announcement_completes_nothing() -> None:
    """One before it may have been lost: what is asked for begins where it did."""
    log = RecallLog()
    log.admitted(5)
    log.announced(REVOKED)
    assert log.heard == 5


def test_what_was_admitted_before_the_first_answer_is_asked_for() -> None:
    """The gateway asked for the newest number alone, and let a client in that is older."""
    log = RecallLog()
    log.admitted(5)
    assert log.answered(None, 9, []) == []
    assert log.heard == 5


def test_an_answer_that_is_overtaken_completes_nothing() -> None:
    """What is asked for begins at the older authorization that came meanwhile."""
    log = RecallLog()
    log.answered(None, 9, [])
    log.admitted(5)
    log.answered(9, 12, [])
    assert log.heard == 5


REFUSALS = [
    # what was taken back; whether an authorization of account a and key k, of mark 5, is refused
    (REVOKED, True),
    (Recall(7, RecallCause.ACCOUNT_DISABLED, "a", keeps_sessions=True), True),
    (Recall(5, RecallCause.KEY_REVOKED, "a", "k"), False),
    (Recall(7, RecallCause.KEY_REVOKED, "a", "other"), False),
    (Recall(7, RecallCause.ACCOUNT_DISABLED, "b"), False),
    (Recall(7, RecallCause.SESSION_ENDED, "a", "k"), True),
    (Recall(7, RecallCause.SESSION_ENDED, "a", "k", "one session"), False),
]


@pytest.mark.parametrize(("recall", "is_refused"), REFUSALS)
def test_a_remembered_authorization_is_refused(recall: Recall, is_refused: bool) -> None:
    """Where its key or its account was taken back after it was given."""
    log = RecallLog()
    log.admitted(5)
    log.announced(recall)
    assert log.refuses(authorization(5), "k") == (recall if is_refused else None)


def test_what_was_forgotten_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what is older than all that is remembered nothing is known."""
    monkeypatch.setattr(module, "REMEMBERED_MAX", 2)
    log = RecallLog()
    log.admitted(1)
    news = [Recall(number, RecallCause.KEY_REVOKED, "a", "k") for number in (2, 3, 4)]
    assert log.answered(1, 4, news) == news
    assert not log.knows_since(1)
    assert log.knows_since(2)
    log.admitted(1)
    assert log.heard == 1


def test_numbers_that_went_back_are_believed() -> None:
    """accountd was restored, and its clock went back: its answers count."""
    log = RecallLog()
    log.answered(None, 9, [])
    log.answered(9, 3, [])
    assert log.heard == 3
    assert log.knows_since(3)
