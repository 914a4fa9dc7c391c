"""What an operator is told of a provider: its latest dials, and what failed last."""

from gateway.providers.observations import RECENT_S, Observations
from shared.provider_reports import REASON_CHARS_MAX, TIMES_MAX, ReportedFailure


def test_old_dials_say_nothing_of_now() -> None:
    """The latest count, for some minutes."""
    seen = Observations()
    for number in range(TIMES_MAX + 1):
        seen.dialled(number / 1000, float(number))
    assert seen.dials_ms(float(TIMES_MAX)) == list(range(1, TIMES_MAX + 1))
    assert seen.dials_ms(RECENT_S + 99) == [99, 100]
    assert seen.dials_ms(RECENT_S + 200) == []
    seen.answered(0.7, 1.0)
    assert seen.answers_ms(1.0 + RECENT_S) == [700]
    assert seen.answers_ms(1.1 + RECENT_S) == []


def test_failures_are_counted_by_kind_and_the_last_is_kept() -> None:
    """With its age, as the clocks of two machines may differ; its text is cut."""
    seen = Observations()
    assert seen.last_failure(0.0) is None
    seen.failed("dial", "refused", 1.0)
    seen.failed("connection", "x" * 1_000, 2.0)
    assert seen.failures == {"dial": 1, "connection": 1}
    assert seen.last_failure(3.5) == ReportedFailure("connection", "x" * REASON_CHARS_MAX, 1_500)
