"""When another connection to a provider takes the place of one that is gone."""

import pytest

from gateway.connections.close import CloseEvent
from gateway.relay.replacement import (
    GOOD_S,
    PAUSE_S,
    PAUSE_S_MAX,
    SOON_S,
    TRIES_MAX,
    Replacement,
)

DROP = CloseEvent(1006, "the connection broke")


def follows(
    tries: Replacement, close: CloseEvent, now: float, *, was_accepted: bool = True
) -> bool:
    """Whether another connection follows."""
    return tries.may_follow(close, now, was_accepted=was_accepted)


def test_a_drop_is_followed_at_once() -> None:
    """The first dial waits for nothing."""
    tries = Replacement()
    tries.connected(0.0)
    assert follows(tries, DROP, 1.0)
    assert tries.pause_s(1.0) == 0.0


def test_connections_that_do_not_last_are_given_up() -> None:
    """After so many tries in a row of which none stood for a while."""
    tries = Replacement()
    for number in range(TRIES_MAX):
        tries.connected(float(number))
        assert follows(tries, DROP, number + 0.5)
    tries.connected(100.0)
    assert not follows(tries, DROP, 100.0 + GOOD_S - 0.1)


def test_a_connection_that_lasted_begins_the_count_anew() -> None:
    """A provider that drops each hour is no provider that is down."""
    tries = Replacement()
    for number in range(3 * TRIES_MAX):
        at = number * 2 * GOOD_S
        tries.connected(at)
        assert follows(tries, DROP, at + GOOD_S)
        assert tries.pause_s(1.0) == 0.0


def test_pauses_double_up_to_a_bound_and_vary() -> None:
    """So that sessions that lost their provider together do not all dial together."""
    tries = Replacement()
    pauses = []
    while tries.may_try_again():
        pauses.append((tries.pause_s(0.0), tries.pause_s(1.0)))
    assert pauses[:3] == [(0.0, 0.0), (PAUSE_S / 2, PAUSE_S), (PAUSE_S, 2 * PAUSE_S)]
    assert max(longest for _, longest in pauses) <= PAUSE_S_MAX


@pytest.mark.parametrize("code", [1007, 1008, 4000])
def test_what_is_refused_for_good_is_not_asked_again(code: int) -> None:
    """Unless it was we who closed, to have the connection replaced."""
    no = CloseEvent(code, "no")
    tries = Replacement()
    tries.connected(0.0)
    assert not follows(tries, no, 1.0)
    assert not follows(tries, no, 1.0, was_accepted=False)
    tries.renewing()
    assert follows(tries, no, 1.0)
    tries.connected(2.0)
    assert not follows(tries, no, 3.0)


def test_a_resumption_that_is_refused_is_tried_once_without_it() -> None:
    """The next connection is told the conversation in place of the handle; if that is refused as
    well, it is for another reason.
    """
    tries = Replacement()
    tries.connected(0.0)
    assert follows(tries, DROP, 60.0)
    refused = CloseEvent(1008, "BidiGenerateContent session not found")
    tries.connected(61.0)
    assert follows(tries, refused, 61.1, was_accepted=False)
    tries.connected(61.2)
    assert not follows(tries, refused, 61.3, was_accepted=False)


def test_connections_that_we_have_replaced_are_no_failed_tries() -> None:
    """A client may change its configuration as often as it likes."""
    tries = Replacement()
    for number in range(3 * TRIES_MAX):
        at = 2 * SOON_S * number
        tries.connected(at)
        tries.renewing()
        assert follows(tries, CloseEvent(1000, ""), at + SOON_S)
        assert tries.pause_s(1.0) == 0.0


def test_replacements_one_after_the_other_are_paced() -> None:
    """A provider that announces its end as soon as it is there makes no loop of dials."""
    tries = Replacement()
    pauses = []
    for _ in range(100):
        tries.connected(0.0)
        tries.renewing()
        assert follows(tries, CloseEvent(1000, ""), SOON_S / 2)
        pauses.append(tries.pause_s(1.0))
    assert pauses[:3] == [0.0, PAUSE_S, 2 * PAUSE_S]
    assert max(pauses) == pauses[-1] == PAUSE_S_MAX
    tries.connected(0.0)
    tries.renewing()
    assert follows(tries, CloseEvent(1000, ""), SOON_S)
    assert tries.pause_s(1.0) == 0.0
