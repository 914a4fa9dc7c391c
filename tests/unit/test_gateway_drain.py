"""How sessions are sent away by a gateway that stops, and how a provider is heard out."""

import pytest

from gateway.drain import departure_gap_s
from gateway.limits import DRAIN_S

DEPARTURES = [
    # sessions, seconds until the last one leaves
    (1, 0.005),
    (100, 0.5),
    (2_000, DRAIN_S),
    (3_000, DRAIN_S),
    (30_000, DRAIN_S),
]


@pytest.mark.parametrize(("sessions", "expected"), DEPARTURES)
def test_departures_are_spread(sessions: int, expected: float) -> None:
    """A few leave at once, and thousands over all the time that there is."""
    assert sessions * departure_gap_s(sessions) == pytest.approx(expected)


def test_nobody_leaves_where_nobody_is() -> None:
    """There is no gap to divide by."""
    assert departure_gap_s(0) > 0
