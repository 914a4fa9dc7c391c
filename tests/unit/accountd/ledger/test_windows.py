"""Which of a producer's messages did not come."""

import pytest

from accountd.ledger.windows import ProducerWindow, Verdict, missing_sequences


def test_missing_sequences_are_bounded() -> None:
    """A hole of any size costs what is shown of it."""
    window = ProducerWindow(0, {2**62, 2**62 + 3}, 2**63 - 1)
    assert window.missing(at_most=3) == [1, 2, 3]
    assert window.judge(2) is Verdict.APPLY
    assert window.missing(at_most=2) == [1, 3]


@pytest.mark.parametrize(
    ("through", "ahead", "ended_at", "at_most", "missing"),
    [
        (0, (), None, 9, []),
        (0, (), 3, 9, [1, 2, 3]),
        (0, (), 3, 2, [1, 2]),
        (2, (4, 6), None, 9, [3, 5]),
        (2, (4, 6), 8, 9, [3, 5, 7, 8]),
        (2, (4, 6), 8, 3, [3, 5, 7]),
        (2, (4, 6), 8, 1, [3]),
        (2, (4,), 4, 9, [3]),
    ],
)
def test_which_sequences_did_not_come(
    through: int, ahead: tuple[int, ...], ended_at: int | None, at_most: int, missing: list[int]
) -> None:
    """The lowest first: holes, then what is missing up to the end."""
    assert missing_sequences(through, ahead, ended_at, at_most) == missing
