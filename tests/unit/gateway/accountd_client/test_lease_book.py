"""Leases: what accountd is told of them, whatever became of the request that asked for one."""

import pytest

from gateway.accountd_client.lease_book import (
    HELD_MAX,
    RELEASED_MAX,
    TRANSITIONS,
    Lease,
    LeaseBook,
    LeaseState,
)

KEY = "k" * 64


def test_every_state_has_a_row() -> None:
    """What is returned is over, and everything else may be returned."""
    assert set(TRANSITIONS) == set(LeaseState)
    assert {state for state, after in TRANSITIONS.items() if LeaseState.RETURNED not in after} == {
        LeaseState.RETURNED
    }


def _held(book: LeaseBook, name: str) -> Lease:
    lease = Lease(book, name)
    assert lease.asking(KEY) == {"gateway": "g", "lease": name}
    lease.answered(is_counted=True)
    return lease


RETURNED = [
    # what accountd said of a lease before it was given back; whether it is told
    ("nothing was asked", False),
    ("it is refused", False),
    ("nothing is limited", False),
    ("the answer was lost", True),
    ("it is counted", True),
    ("it is away", True),
]


@pytest.mark.parametrize(("before", "is_told"), RETURNED)
def test_what_accountd_may_count_is_released(before: str, is_told: bool) -> None:
    """At the end of the ``with``, when nobody took the lease over."""
    book = LeaseBook("g")
    with Lease(book, "a") as lease:
        if before != "nothing was asked":
            lease.asking(KEY)
        if before == "it is away":
            lease.assumed()
        elif before not in ("nothing was asked", "the answer was lost"):
            lease.answered(is_counted=before == "it is counted")
    assert book.next().released == (["a"] if is_told else [])
    assert len(book) == 0
    lease.give_back()  # again, which is nothing
    book.answered(book.next(), is_known=True)
    assert book.is_silent


def test_a_lease_that_was_taken_over_stays_until_it_is_given_back() -> None:
    """The session that took it lives on."""
    book = LeaseBook("g")
    with _held(book, "a") as lease:
        assert lease.take() is lease
    assert not book.is_silent
    assert not book.is_urgent
    lease.give_back()
    assert book.next().released == ["a"]


def test_a_session_that_is_not_to_count_takes_nothing() -> None:
    """It was let in by an earlier answer, which limits nothing; the lost one may have."""
    book = LeaseBook("g")
    with Lease(book, "a") as lease:
        lease.asking(KEY)
        assert lease.take() is None
    assert book.next().released == ["a"]


def test_an_accountd_that_knows_nothing_is_told_everything_in_portions() -> None:
    """The portions fit into messages, and each is told once."""
    book = LeaseBook("g")
    for number in range(HELD_MAX + 1):
        _held(book, f"{number}")
    renewal = book.next()
    assert renewal.held == []
    book.answered(renewal, is_known=False)
    first = book.next()
    book.answered(first, is_known=False)  # the first that it hears
    second = book.next()
    book.answered(second, is_known=True)
    assert [len(first.held), len(second.held)] == [HELD_MAX, 1]
    assert len({*first.held, *second.held}) == HELD_MAX + 1
    assert not book.is_urgent


def test_an_accountd_that_starts_between_two_portions_is_told_again() -> None:
    """It does not know the first portion."""
    book = LeaseBook("g")
    for number in range(HELD_MAX + 1):
        _held(book, f"{number}")
    book.answered(book.next(), is_known=False)
    book.answered(book.next(), is_known=True)
    book.answered(book.next(), is_known=False)
    assert len(book.next().held) == HELD_MAX


def test_an_accountd_that_starts_while_nothing_is_held_is_told_what_comes() -> None:
    """Nothing was told to the one before, of which it could be taken for known."""
    book = LeaseBook("g")
    _held(book, "a").give_back()
    book.answered(book.next(), is_known=False)
    assert book.is_silent
    _held(book, "b")
    book.answered(book.next(), is_known=False)
    assert book.next().held == [("b", KEY)]


def test_a_lease_whose_answer_comes_after_a_start_is_told_too() -> None:
    """The accountd that counted it is gone."""
    book = LeaseBook("g")
    lease = Lease(book, "late")
    lease.asking(KEY)
    book.answered(book.next(), is_known=False)
    lease.answered(is_counted=True)
    assert book.next().held == [("late", KEY)]


def test_everything_is_told_again_after_an_answer_was_lost() -> None:
    """It may have said that accountd knew nothing of this gateway, which it does since."""
    book = LeaseBook("g")
    _held(book, "a")
    book.answered(book.next(), is_known=True)
    book.unheard()
    assert book.next().held == [("a", KEY)]
    book.answered(book.next(), is_known=True)
    assert book.next().held == []


def test_what_was_released_is_told_until_it_is_heard() -> None:
    """In portions, too."""
    book = LeaseBook("g")
    for number in range(RELEASED_MAX + 1):
        _held(book, f"{number}").give_back()
    lost, again = book.next(), book.next()
    assert lost.released == again.released
    assert len(again.released) == RELEASED_MAX
    book.answered(again, is_known=True)
    assert book.next().released == [f"{RELEASED_MAX}"]


def test_an_accountd_without_leases_is_told_nothing_twice() -> None:
    """What is held is told once it is upgraded."""
    book = LeaseBook("g")
    lease = _held(book, "a")
    _held(book, "b").give_back()
    book.unheeded(book.next())
    assert book.next().released == []
    book.answered(book.next(), is_known=False)
    assert book.next().held == [(lease.id, KEY)]
