"""In which days a spending cap counts, and when it begins anew. Pure.

A day is the number of days since 1970, in UTC, as ``ledger.key_spending`` counts them.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import Final, NamedTuple

from shared.limits import Period

_EPOCH: Final = date(1970, 1, 1)
_LAST_DAY: Final = (date.max - _EPOCH).days  # no usage is metered later


class Days(NamedTuple):
    """From the first to the last day, both included."""

    first: int
    last: int


def days_of(period: Period, now: datetime) -> Days:
    """The days of the ``period`` in which ``now`` is."""
    if period is Period.TOTAL:
        return Days(0, _LAST_DAY)
    return Days((_begin(period, now) - _EPOCH).days, (_next(period, now) - _EPOCH).days - 1)


def seconds_left(period: Period, now: datetime) -> int | None:
    """Until the next period begins, 1 at least; None where none does."""
    if period is Period.TOTAL:
        return None
    ends_at = datetime.combine(_next(period, now), time(), UTC)
    return (ends_at - now.astimezone(UTC)) // timedelta(seconds=1) + 1


def _begin(period: Period, now: datetime) -> date:
    today = now.astimezone(UTC).date()
    return today.replace(day=1) if period is Period.MONTH else today


def _next(period: Period, now: datetime) -> date:
    begin = _begin(period, now)
    longer = begin + timedelta(days=31 if period is Period.MONTH else 1)
    return _begin(period, datetime.combine(longer, time(), UTC))
