"""The rule of the two buckets."""

import pytest

from accountd.ledger.cascade import Deduction, cascade

CHARGES = [
    # top-up credits, the charge; what each bucket pays
    (100, 30, Deduction(topup=30, tokens=0)),
    (100, 100, Deduction(topup=100, tokens=0)),
    (100, 130, Deduction(topup=100, tokens=30)),
    (0, 30, Deduction(topup=0, tokens=30)),
    (-50, 30, Deduction(topup=0, tokens=30)),
    (100, 0, Deduction(topup=0, tokens=0)),
]


@pytest.mark.parametrize(("topup", "used", "expected"), CHARGES)
def test_topup_pays_first_and_the_subscription_the_rest(
    topup: int, used: int, expected: Deduction
) -> None:
    """Down to zero; what the subscription has does not matter."""
    assert cascade(topup=topup, used=used) == expected


def test_a_charge_is_never_negative() -> None:
    """Credits are given by grants alone."""
    with pytest.raises(AssertionError):
        cascade(topup=100, used=-1)
