"""Responses that may have ended while nobody listened to a call."""

from gateway.calls.unheard_responses import UnheardResponses
from gateway.limits import CALL_DOUBT_S


def back_again(*streaming: str) -> UnheardResponses:
    """A call whose sideband is back while these were streaming before."""
    unheard = UnheardResponses()
    unheard.begin(frozenset(streaming), now=100.0)
    return unheard


def test_without_a_break_nothing_is_in_doubt() -> None:
    """However long a response streams."""
    assert UnheardResponses().lost_unheard(frozenset({"r1"}), now=1e9) == frozenset()


def test_a_response_is_lost_when_its_time_is_over() -> None:
    """Once; until then its usage may still come."""
    unheard, streaming = back_again("r1", "r2"), frozenset({"r1", "r2"})
    assert unheard.lost_unheard(streaming, now=100.0 + CALL_DOUBT_S) == frozenset()
    assert unheard.lost_unheard(streaming, now=100.1 + CALL_DOUBT_S) == streaming
    assert unheard.lost_unheard(streaming, now=1e9) == frozenset()


def test_a_response_is_lost_when_another_one_begins() -> None:
    """A conversation has one at a time."""
    unheard = back_again("r1")
    assert unheard.lost_unheard(frozenset({"r1"}), now=100.0) == frozenset()
    assert unheard.lost_unheard(frozenset({"r1", "r2"}), now=100.0) == {"r1"}


def test_a_response_that_was_reported_is_in_doubt_no_more() -> None:
    """It is no longer streaming, and the next one says nothing about it."""
    unheard = back_again("r1")
    assert unheard.lost_unheard(frozenset(), now=100.0) == frozenset()
    assert unheard.lost_unheard(frozenset({"r2"}), now=1e9) == frozenset()
