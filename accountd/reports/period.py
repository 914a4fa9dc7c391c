"""Periods of reports: ``since <= t < until``, so two that adjoin count everything once. Pure."""

from dataclasses import dataclass
from typing import Final

from accountd.request_params import Params, RequestError
from accountd.times import ms_of_iso

_BEGINNING, _END = "", "~"  # sort before and after every stored time
DAY_MS: Final = 24 * 60 * 60 * 1000
_BEGINNING_MS, _END_MS = -(2**35) * DAY_MS, 2**35 * DAY_MS


@dataclass(frozen=True, slots=True)
class Period:
    """From ``since``, included, until ``until``, not included, in the stored form; None is open."""

    since: str | None
    until: str | None

    @property
    def low(self) -> str:
        """The inclusive lower bound for stored times."""
        return self.since or _BEGINNING

    @property
    def high(self) -> str:
        """The exclusive upper bound for stored times."""
        return self.until or _END

    @property
    def low_ms(self) -> int:
        """The inclusive lower bound for Unix times in milliseconds."""
        return ms_of_iso(self.since) if self.since else _BEGINNING_MS

    @property
    def high_ms(self) -> int:
        """The exclusive upper bound for Unix times in milliseconds."""
        return ms_of_iso(self.until) if self.until else _END_MS

    @property
    def before(self) -> "Period":
        """All the time before it."""
        return Period(None, self.since) if self.since else _NEVER

    @property
    def after(self) -> "Period":
        """All the time after it."""
        return Period(self.until, None) if self.until else _NEVER


_NEVER: Final = Period(None, "0001-01-01T00:00:00.000Z")


def period_of(params: Params) -> Period:
    """The period in the parameters of a request; raises ``RequestError``."""
    period = Period(params.optional_time("since"), params.optional_time("until"))
    if period.since and period.until and period.since > period.until:
        message = f"since: found {period.since}, expected a time before until, {period.until}"
        raise RequestError("bad_request", message)
    return period
