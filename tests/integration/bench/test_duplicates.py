"""The figure of duplicates is a bar, not only a line on a screen."""

import pytest

from bench import duplicates


@pytest.mark.parametrize(("rate_min", "is_met"), [(1, True), (10**12, False)])
def test_below_the_bar_the_bench_fails(
    monkeypatch: pytest.MonkeyPatch, rate_min: int, is_met: bool
) -> None:
    """The figure is reported in any case; below the bar it is not met."""
    assert duplicates.RATE_MIN == 100_000
    monkeypatch.setattr(duplicates, "RATE_MIN", rate_min)
    outcome = duplicates.outcome(duplicates=2_000)
    assert outcome.is_right
    assert outcome.is_met is is_met
    assert outcome.tables[0].rows[0][0] == 2_000
