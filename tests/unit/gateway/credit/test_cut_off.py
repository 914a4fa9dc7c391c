"""What a session does about its credit, review by review."""

import pytest

from gateway.credit.credit import CreditStatus
from gateway.credit.cut_off import CreditAction, CutOff
from gateway.limits import CREDIT_WAIT_S, CREDIT_WAIT_STREAMING_S

ONE, TWO = frozenset({"one"}), frozenset({"two"})
NONE = frozenset[str]()
LONG = CREDIT_WAIT_STREAMING_S + 1

AVAILABLE, SPENT = CreditStatus.AVAILABLE, CreditStatus.ALLOTMENT_SPENT
EXHAUSTED = CreditStatus.EXHAUSTED

REVIEWS = [
    # reviews before the last (status, streaming, now); the last one; and what follows from it
    ([], (AVAILABLE, ONE, 0.0), CreditAction.NOTHING),
    ([], (EXHAUSTED, NONE, 0.0), CreditAction.END),
    ([], (EXHAUSTED, ONE, 0.0), CreditAction.NOTHING),
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
