"""Days, months and the end of each, in UTC."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from accountd.accounts.spending_periods import days_of, seconds_left
from shared.limits import Period

DAY, MONTH, TOTAL = Period.DAY, Period.MONTH, Period.TOTAL


def at(text: str) -> datetime:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def day(text: str) -> int:
    """Days since 1970."""
    return (date.fromisoformat(text) - date(1970, 1, 1)).days


PERIODS = [
    # period, now, its first day, its last day, seconds until the next one
    (DAY, "2026-12-01T00:00:00", "2026-12-01", "2026-12-01", 86_401),
    (DAY, "2026-12-01T23:59:59.999", "2026-12-01", "2026-12-01", 1),
    (MONTH, "2026-12-31T23:00:00", "2026-12-01", "2026-12-31", 3_601),
    (MONTH, "2027-01-01T00:00:00", "2027-01-01", "2027-01-31", 31 * 86_400 + 1),
    (MONTH, "2028-02-29T23:59:59", "2028-02-01", "2028-02-29", 2),
    (MONTH, "2026-02-01T00:00:00", "2026-02-01", "2026-02-28", 28 * 86_400 + 1),
    (TOTAL, "2026-12-01T00:00:00", "1970-01-01", "9999-12-31", None),
]


@pytest.mark.parametrize(("period", "now", "first", "last", "left_s"), PERIODS)
def test_a_period_is_whole_days(
    period: Period, now: str, first: str, last: str, left_s: int | None
) -> None:
    """It ends where the next one begins; who waits so long does not come a moment too early."""
    assert days_of(period, at(now)) == (day(first), day(last))
    assert seconds_left(period, at(now)) == left_s


def test_the_day_is_that_of_utc() -> None:
    """Wherever the clock stands."""
    east = timezone(timedelta(hours=9))
    now = datetime(2026, 12, 2, 3, 0, tzinfo=east)  # the first of December, 18:00 in UTC
    assert days_of(DAY, now) == (day("2026-12-01"), day("2026-12-01"))
    assert seconds_left(DAY, now) == 6 * 3_600 + 1
