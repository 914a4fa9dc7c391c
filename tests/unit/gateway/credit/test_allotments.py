"""Allotments of earlier balances: how long each binds, and how tightly."""

import pytest

from gateway.credit.allotments import LATE_S, RECONNECT_S, OldAllotments


def test_without_an_old_allotment_the_new_one_counts() -> None:
    """Whatever was metered: that is in the new one."""
    old = OldAllotments()
    old.meter(50)
    assert (bool(old), old.left(30)) == (False, 30)
    assert old.expire(1e9) is False


def test_the_tighter_one_counts() -> None:
    """An old allotment of which 10 are left, and a new one."""
    old = OldAllotments()
    old.keep(10, now=0.0)
    assert (old.left(30), old.left(5)) == (10, 5)
    old.meter(4)
    assert old.left(30) == 6


@pytest.mark.parametrize(
    ("now", "has_expired", "left"), [(LATE_S - 0.1, False, 10), (LATE_S, True, 30)]
)
def test_an_old_allotment_binds_for_so_long(now: float, has_expired: bool, left: int) -> None:
    """Then every gateway has heard of the new balance."""
    old = OldAllotments()
    old.keep(10, now=0.0)
    assert old.expire(now) is has_expired
    assert old.left(30) == left


def test_a_tighter_bound_takes_the_place_of_wider_ones() -> None:
    """They would never count: it lasts longer. An equal one is replaced, too."""
    old = OldAllotments()
    old.keep(20, now=0.0)
    old.keep(20, now=0.5)
    assert old.expire(LATE_S) is False, "the later of two equal bounds is the one that is kept"
    old.keep(5, now=0.6)
    assert old.left(30) == 5
    assert old.expire(0.6 + LATE_S) is True
    assert not old


def test_a_wider_bound_waits_behind_a_tighter_one() -> None:
    """It counts once the tighter one has expired."""
    old = OldAllotments()
    old.keep(5, now=0.0)
    old.keep(20, now=0.5)
    assert old.left(30) == 5
    old.expire(LATE_S)
    assert old.left(30) == 20


def test_what_is_given_widens_every_bound() -> None:
    """A top-up counts at once; several add up."""
    old = OldAllotments()
    old.meter(3)
    old.keep(10, now=0.0)
    old.grant(4, now=0.0)
    old.grant(2, now=0.0)
    assert old.left(99) == 16


@pytest.mark.parametrize(("now", "left"), [(RECONNECT_S - 0.1, 10), (RECONNECT_S, 14)])
def test_after_a_restart_what_is_given_waits(now: float, left: int) -> None:
    """Until all gateways are back it is not known by how many to divide it."""
    old = OldAllotments()
    old.accountd_restarted(0.0)
    old.keep(10, now=0.0)
    old.grant(4, now=now)
    assert old.left(99) == left


@pytest.mark.parametrize(("now", "has_expired"), [(LATE_S, False), (RECONNECT_S, True)])
def test_after_a_restart_an_allotment_binds_longer(now: float, has_expired: bool) -> None:
    """Gateways come back one by one."""
    old = OldAllotments()
    old.accountd_restarted(0.0)
    old.keep(10, now=0.0)
    assert old.expire(now) is has_expired
