"""What a charge leaves, and when that falls to the low-credit mark."""

import pytest

from accountd.ledger.charging import Balance, Crossing, crossing

CROSSINGS = [
    # before, top-up left, tokens left, mark, crossed
    (101, 0, 100, 100, True),
    (101, 50, 50, 100, True),
    (500, 0, -20, 100, True),
    (101, 0, 101, 100, False),
    (100, 0, 90, 100, False),
    (90, 0, 80, 100, False),
    (90, 0, 100, 100, False),
    (90, 0, 200, 100, False),
    (1, 0, 0, 0, True),
    (0, 0, -1, 0, False),
    (500, 0, 0, None, False),
]


@pytest.mark.parametrize(("before", "topup", "tokens", "mark", "is_crossed"), CROSSINGS)
def test_falling_to_the_mark_is_noticed_once(
    before: int, topup: int, tokens: int, mark: int | None, is_crossed: bool
) -> None:
    """From above to it or below; rising, and staying below, is none."""
    left = Balance(topup, tokens, mark)
    expected = Crossing("a", left) if is_crossed else None
    assert crossing("a", before=before, left=left) == expected
