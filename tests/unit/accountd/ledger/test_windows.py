"""Which of a producer's messages did not come."""

from accountd.ledger.windows import ProducerWindow, Verdict


def test_missing_sequences_are_bounded() -> None:
    """A hole of any size costs what is shown of it."""
    window = ProducerWindow(0, {2**62, 2**62 + 3}, 2**63 - 1)
    assert window.missing(at_most=3) == [1, 2, 3]
    assert window.judge(2) is Verdict.APPLY
    assert window.missing(at_most=2) == [1, 3]
