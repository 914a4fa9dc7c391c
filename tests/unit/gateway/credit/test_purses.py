"""What a session's own limits leave, and which of two purses is tighter."""

from itertools import product

import pytest

from gateway.credit.credit import CreditStatus
from gateway.credit.purses import Purse, SessionBudget, tighter
from shared.rates import NANO_PER_CREDIT

BUDGETS: list[tuple[int | None, int | None, list[tuple[int, int]], Purse | None]] = [
    # limits of tokens and credits; tokens and nano-credits spent, one after the other; what is up
    (None, None, [(10**9, 10**18)], None),
    (100, None, [(60, 10**18), (39, 0)], None),
    (100, None, [(60, 0), (40, 0)], Purse.SESSION_TOKENS),
    (None, 5, [(10**9, 5 * NANO_PER_CREDIT - 1)], None),
    (None, 5, [(0, 4 * NANO_PER_CREDIT), (0, NANO_PER_CREDIT)], Purse.SESSION_CREDITS),
    (100, 5, [(1, 9 * NANO_PER_CREDIT)], Purse.SESSION_CREDITS),
    (100, 5, [(900, 0)], Purse.SESSION_TOKENS),
]


@pytest.mark.parametrize(("tokens", "credits_", "spent", "expected"), BUDGETS)
def test_a_session_has_what_its_limits_say(
    tokens: int | None, credits_: int | None, spent: list[tuple[int, int]], expected: Purse | None
) -> None:
    """To the last token and the last part of a credit."""
    budget = SessionBudget(tokens=tokens, credits_=credits_)
    for used, nano in spent:
        assert budget.used_up is None
        budget.spend(tokens=used, nano=nano)
    assert budget.used_up is expected


def test_the_tighter_status_counts() -> None:
    """Whichever purse has it."""
    order = [CreditStatus.AVAILABLE, CreditStatus.ALLOTMENT_SPENT, CreditStatus.EXHAUSTED]
    for one, other in product(order, order):
        assert tighter(one, other) is order[max(order.index(one), order.index(other))]
