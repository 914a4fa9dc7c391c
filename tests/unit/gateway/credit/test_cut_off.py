"""What a session does about its credit, review by review."""

import pytest

from gateway.credit.credit import CreditStatus
from gateway.credit.cut_off import CreditAction, CutOff
from gateway.limits import ANSWER_S, CREDIT_WAIT_S, CREDIT_WAIT_STREAMING_S, FLOOR_ASKED_S

ONE, TWO = frozenset({"one"}), frozenset({"two"})
NONE = frozenset[str]()
LONG = CREDIT_WAIT_STREAMING_S + 1

AVAILABLE, SPENT = CreditStatus.AVAILABLE, CreditStatus.ALLOTMENT_SPENT
EXHAUSTED = CreditStatus.EXHAUSTED

REVIEWS = [
    # reviews before the last (status, streaming, now); the last one; and what follows from it
    ([], (AVAILABLE, ONE, 0.0), CreditAction.NOTHING),
    ([], (EXHAUSTED, NONE, 0.0), CreditAction.END),
    ([], (EXHAUSTED, ONE, 0.0), CreditAction.PAUSE),
    ([(EXHAUSTED, ONE, 0.0)], (EXHAUSTED, NONE, 1.0), CreditAction.END),
    (
        [(EXHAUSTED, ONE, 0.0)],
        (EXHAUSTED, ONE | TWO, 1.0),
        CreditAction.NOTHING,
    ),
    ([(EXHAUSTED, ONE, 0.0)], (EXHAUSTED, TWO, 1.0), CreditAction.END),
    ([(EXHAUSTED, ONE, 0.0)], (EXHAUSTED, ONE, LONG), CreditAction.END),
    ([], (SPENT, NONE, 0.0), CreditAction.PAUSE),
    (
        [(SPENT, NONE, 0.0)],
        (SPENT, NONE, 1.0),
        CreditAction.NOTHING,
    ),
    (
        [(SPENT, ONE, 0.0)],
        (SPENT, NONE, 1.0),
        CreditAction.PAUSE,
    ),
    (
        [(SPENT, NONE, 0.0)],
        (AVAILABLE, NONE, 1.0),
        CreditAction.RESUME,
    ),
    (
        [(SPENT, ONE, 0.0)],
        (AVAILABLE, ONE, 1.0),
        CreditAction.NOTHING,
    ),
    ([(SPENT, NONE, 0.0)], (EXHAUSTED, NONE, 1.0), CreditAction.END),
]


@pytest.mark.parametrize(("before", "last", "expected"), REVIEWS)
def test_what_was_streaming_is_finished_first(
    before: list[tuple[CreditStatus, frozenset[str], float]],
    last: tuple[CreditStatus, frozenset[str], float],
    expected: CreditAction,
) -> None:
    """Then a session pauses or ends; what begins later is not waited for."""
    cut_off = CutOff()
    for status, streaming, now in before:
        cut_off.review(status, streaming, now=now)
    status, streaming, now = last
    assert cut_off.review(status, streaming, now=now) is expected


ASKED_S = FLOOR_ASKED_S
ASKED = [
    # what had been asked for when the credit ended: reviews (streaming, asked, now) and their end
    ([(NONE, True, 0.0)], CreditAction.PAUSE),
    ([(NONE, True, 0.0), (NONE, True, ASKED_S)], CreditAction.NOTHING),
    ([(NONE, True, 0.0), (NONE, True, ASKED_S + 1)], CreditAction.END),
    ([(NONE, True, 0.0), (NONE, False, 1.0)], CreditAction.END),  # it was refused
    ([(NONE, True, 0.0), (ONE, False, 1.0)], CreditAction.NOTHING),
    ([(NONE, True, 0.0), (ONE, False, 1.0), (NONE, False, 2.0)], CreditAction.END),
    ([(ONE, True, 0.0), (NONE, True, 1.0)], CreditAction.NOTHING),
    ([(NONE, False, 0.0), (ONE, True, 1.0)], CreditAction.END),  # asked for too late
]


@pytest.mark.parametrize(("reviews", "expected"), ASKED)
def test_what_had_been_asked_for_is_finished_too(
    reviews: list[tuple[frozenset[str], bool, float]], expected: CreditAction
) -> None:
    """It will be charged, so it is delivered whole; nothing else is taken from the client."""
    cut_off = CutOff()
    found = [
        cut_off.review(EXHAUSTED, streaming, now=now, is_asked=is_asked)
        for streaming, is_asked, now in reviews
    ]
    assert found[-1] is expected
    assert not cut_off.is_overdue(1e9, is_streaming=False), "it waits for no balance"


def test_what_the_user_says_may_be_answered() -> None:
    """A provider that has heard all of it begins soon, and then it is finished."""
    for begun, expected in ((NONE, CreditAction.END), (ONE, CreditAction.NOTHING)):
        cut_off = CutOff()
        cut_off.review(EXHAUSTED, NONE, now=0.0, may_answer=True)
        at = cut_off.review(EXHAUSTED, NONE, now=ANSWER_S, may_answer=True)
        assert at is CreditAction.NOTHING
        if begun:
            cut_off.review(EXHAUSTED, begun, now=ANSWER_S)
        found = cut_off.review(EXHAUSTED, begun, now=ANSWER_S + 1, may_answer=not begun)
        assert found is expected


@pytest.mark.parametrize(("is_streaming", "wait_s"), [(False, CREDIT_WAIT_S), (True, LONG - 1)])
def test_a_pause_has_a_deadline(is_streaming: bool, wait_s: float) -> None:
    """It is longer while a response is streamed to the client, which nobody has to wait for."""
    cut_off = CutOff()
    assert not cut_off.is_overdue(1e9, is_streaming=is_streaming), "nothing is paused"
    cut_off.review(SPENT, NONE, now=0.0)
    assert not cut_off.is_overdue(wait_s, is_streaming=is_streaming)
    assert cut_off.is_overdue(wait_s + 1, is_streaming=is_streaming)
    cut_off.review(AVAILABLE, NONE, now=1.0)
    assert not cut_off.is_overdue(1e9, is_streaming=is_streaming)
