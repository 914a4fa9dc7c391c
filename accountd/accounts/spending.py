"""What keys may still spend: their caps, less what the ledger has counted in the period.

Asked on any thread that has a connection of its own; what is committed counts. Gateways hear it
like the balance of an account, under the name ``shared.announcements.purse_of_key``.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

from accountd.accounts.limits import NOTHING_STORED, LimitReader
from accountd.accounts.spending_periods import days_of, seconds_left
from accountd.data import models
from accountd.ledger.charging import Balance
from accountd.request_params import Json, RequestError
from shared.announcements import key_of_purse, purse_of_key
from shared.limits import Limits, Period

# What is announced of a key that has no cap any more: sessions that began with one go on.
UNCAPPED: Final = 2**62
_KEYS_TOGETHER: Final = 500

_LIMITS: Final = "SELECT key_hash, limits FROM api_keys WHERE key_hash IN ({marks})"
_SPENT: Final = """
    SELECT k.key_hash, sum(s.credits) FROM usage_keys k JOIN key_spending s ON s.key = k.number
    WHERE k.key_hash IN ({marks}) AND s.day BETWEEN ? AND ? GROUP BY k.key_hash
"""
_WORDS: Final[Mapping[Period, str]] = {
    Period.DAY: "today", Period.MONTH: "this month", Period.TOTAL: "in all",
}  # fmt: skip


def utc_now() -> datetime:
    """The time now."""
    return datetime.now(UTC)


class Spending:
    """Reads what is left of spending caps. ``now`` is the clock that periods follow."""

    def __init__(self, limits: LimitReader, now: Callable[[], datetime] = utc_now) -> None:
        self._limits = limits
        self._now = now

    def left(self, key_hash: str, limits: Limits) -> int | None:
        """What a key with these ``limits`` may still spend; None: as much as it likes. Raises
        ``RequestError`` where nothing is left.
        """
        cap, period = limits.spending_credits, limits.spending_period
        if cap is None:
            return None
        now = self._now()
        spent = _spent([key_hash], period, now).get(key_hash, 0)
        if spent >= cap:
            raise RequestError(
                "spending_limit_reached",
                f"the key has spent {spent:,} of {cap:,} credits {_WORDS[period]}",
                retry_after_s=seconds_left(period, now),
            )
        return cap - spent

    def shown(self, key_hash: str, limits: Limits) -> Json:
        """What a key has spent in this period, where it has a cap."""
        if limits.spending_credits is None:
            return {}
        spent = _spent([key_hash], limits.spending_period, self._now())
        return {"spent_in_period": spent.get(key_hash, 0)}

    def balances(self, purses: Iterable[str]) -> dict[str, Balance]:
        """What is left under these names, negative where more was spent; only of keys that
        exist.
        """
        found, now = {}, self._now()
        for some in _portions(filter(None, map(key_of_purse, purses))):
            by_period: defaultdict[Period, dict[str, int]] = defaultdict(dict)
            for key_hash, stored in _rows(_LIMITS, some):
                limits = self._limits.effective(stored, NOTHING_STORED).key
                if limits.spending_credits is None:
                    found[purse_of_key(key_hash)] = Balance(0, UNCAPPED)
                else:
                    by_period[limits.spending_period][key_hash] = limits.spending_credits
            for period, caps in by_period.items():
                spent = _spent(list(caps), period, now)
                for key_hash, cap in caps.items():
                    found[purse_of_key(key_hash)] = Balance(0, cap - spent.get(key_hash, 0))
        return found


def _spent(keys: list[str], period: Period, now: datetime) -> dict[str, int]:
    """By key; those that have spent nothing are not in it."""
    return dict(_rows(_SPENT, keys, *days_of(period, now)))


def _rows(statement: str, keys: list[str], *others: int) -> list[tuple[str, Any]]:
    marked = statement.format(marks=",".join("?" * len(keys)))
    rows: list[tuple[str, Any]] = models.database.execute_sql(marked, (*keys, *others)).fetchall()
    return rows


def _portions(keys: Iterator[str]) -> Iterator[list[str]]:
    while some := list(islice(keys, _KEYS_TOGETHER)):
        yield some
