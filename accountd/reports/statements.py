"""Statements: the balances, grants and charges of an account in a period.

Runs on the reader thread.

A period is ``since <= t < until``, so that two adjacent periods count everything once. A grant
belongs to the time at which it was made, a charge to the time at which the gateway *metered* it
(``created_at``): usage of 23:59 that arrives after midnight belongs to the earlier day. So the
balance at a moment is the sum of the grants less the usage until then.

The closing balance is the stored balance without the grants and charges after the period, the
opening balance the sum of all before it. opening + grants - charges = closing is checked, as in the
audit. Days are UTC.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from accountd.data import models
from accountd.data.models import Account, in_sql
from accountd.request_params import Json, Params, RequestError
from accountd.rpc_types import BUCKETS, SUMMED, GroupBy
from shared.usage import ESTIMATES, Kind

_KEYS: Final = {
    GroupBy.DAY: "substr(created_at, 1, 10)",
    GroupBy.SESSION: "session_id",
    GroupBy.MODEL: "model",
    GroupBy.KIND: "kind",
}

Buckets = tuple[int, int]  # top-up, tokens

_BEGINNING, _END = "", "~"  # sort before and after every stored time
_MIDNIGHT: Final = "T00:00:00.000Z"

# Leaves out estimates without a deduction: they were not charged. ``responses`` leaves out
# transcriptions and durations.
_GROUPS: Final = f"""
    SELECT {{key}}, max(created_at),
           coalesce(
               sum(responses) FILTER (WHERE kind IN ('{Kind.RESPONSE}', '{Kind.ESTIMATE}')), 0
           ),
           sum(coalesce(input_tokens, 0)), sum(coalesce(output_tokens, 0)),
           sum(coalesce(total_tokens, 0)), sum(topup_deducted), sum(token_deducted)
    FROM usage_metrics
    WHERE account_id = ? AND created_at >= ? AND created_at < ?
      AND NOT (kind IN {in_sql(ESTIMATES)} AND topup_deducted = 0 AND token_deducted = 0)
    GROUP BY 1 ORDER BY {{order}}
"""  # noqa: S608 - constants only
_GRANTED: Final = """
    SELECT coalesce(sum(topup_delta), 0), coalesce(sum(token_delta), 0) FROM credit_grants
    WHERE account_id = ? AND created_at >= ? AND created_at < ?
"""
_CHARGED: Final = """
    SELECT coalesce(sum(topup_deducted), 0), coalesce(sum(token_deducted), 0) FROM usage_metrics
    WHERE account_id = ? AND created_at >= ? AND created_at < ?
"""
_GRANTS: Final = """
    SELECT id, kind, topup_delta, token_delta, reason, created_at FROM credit_grants
    WHERE account_id = ? AND created_at >= ? AND created_at < ? ORDER BY created_at, id
"""
_GRANT_COLUMNS: Final = ("id", "kind", "topup_delta", "token_delta", "reason", "created_at")


@dataclass(frozen=True, slots=True)
class Period:
    """From ``since``, included, until ``until``, not included, in the stored form; None is open."""

    since: str | None
    until: str | None

    @property
    def low(self) -> str:
        """The inclusive lower bound for stored times."""
        return _bound(self.since) if self.since else _BEGINNING

    @property
    def high(self) -> str:
        """The exclusive upper bound for stored times."""
        return _bound(self.until) if self.until else _END


@dataclass(frozen=True, slots=True)
class Movements:
    """Credits granted to and charged from both buckets in one period."""

    granted: Buckets
    charged: Buckets

    @property
    def left(self) -> Buckets:
        """Granted less charged, in each bucket."""
        return self.granted[0] - self.charged[0], self.granted[1] - self.charged[1]


def period_of(params: Params) -> Period:
    """The period in the parameters of a request; raises ``RequestError``."""
    period = Period(params.optional_time("since"), params.optional_time("until"))
    if period.since and period.until and period.since > period.until:
        message = f"since: found {period.since}, expected a time before until, {period.until}"
        raise RequestError("bad_request", message)
    return period


def balances(account: Account, period: Period) -> Json:
    """Opening balance, grants, the sums granted and charged, closing balance, and ``adds_up``.

    Call it in one transaction with the other queries of an answer, so that all read one snapshot.
    """
    low, high = period.low, period.high
    opening = _movements(account.id, _BEGINNING, low).left
    within, later = _movements(account.id, low, high), _movements(account.id, high, _END).left
    closing = (account.topup_remaining - later[0], account.token_remaining - later[1])
    grants = models.database.execute_sql(_GRANTS, (account.id, low, high)).fetchall()
    return {
        "since": period.since,
        "until": period.until,
        "opening": dict(zip(BUCKETS, opening, strict=True)),
        "grants": [dict(zip(_GRANT_COLUMNS, row, strict=True)) for row in grants],
        "granted": dict(zip(("topup_delta", "token_delta"), within.granted, strict=True)),
        "charged": dict(zip(("topup_deducted", "token_deducted"), within.charged, strict=True)),
        "closing": dict(zip(BUCKETS, closing, strict=True)),
        "adds_up": closing == _added(opening, within.left),
    }


def groups(account: Account, by: GroupBy, period: Period) -> list[Json]:
    """The charges of the period, grouped by ``by``."""
    found = _grouped(account, _KEYS[by], period, order="1")
    return [with_credits({str(by): key, **sums}) for key, _, sums in found]


def newest_groups(account: Account, by: GroupBy, period: Period, *, limit: int) -> list[Json]:
    """The groups with the newest charges, at most ``limit``, with the time of that charge."""
    found = _grouped(account, _KEYS[by], period, order=f"2 DESC, 1 LIMIT {limit:d}")
    return [with_credits({str(by): key, "last_at": last, **sums}) for key, last, sums in found]


def totals(account: Account, period: Period) -> Json:
    """The sums of all charges in the period."""
    found = _grouped(account, "account_id", period, order="1")
    return total_of([sums for _, _, sums in found])


def total_of(rows: list[Json]) -> Json:
    """The sums over groups."""
    return with_credits({name: sum(row[name] for row in rows) for name in SUMMED})


def with_credits(sums: Json) -> Json:
    """``sums`` with ``credits``: the deductions from both buckets together."""
    return {**sums, "credits": sums["topup_deducted"] + sums["token_deducted"]}


# --- helpers -------------------------------------------------------------------------------------


def _bound(stored: str) -> str:
    """A stored time as a bound for comparisons.

    The original system wrote ``2026-11-01 09:00``, with a space in place of the T, which sorts
    before every ``2026-11-01T…``. So a bound at midnight is ``2026-11-01``, which sorts before
    both.
    """
    return stored.removesuffix(_MIDNIGHT)


def _grouped(
    account: Account, key: str, period: Period, *, order: str
) -> Iterator[tuple[str, str, Json]]:
    """The groups, each as (value of ``key``, time of the newest charge, sums)."""
    statement = _GROUPS.format(key=key, order=order)
    rows = models.database.execute_sql(statement, (account.id, period.low, period.high))
    for value, last, *sums in rows:
        yield value, last, dict(zip(SUMMED, sums, strict=True))


def _movements(account_id: str, low: str, high: str) -> Movements:
    granted, charged = (
        models.database.execute_sql(statement, (account_id, low, high)).fetchone()
        for statement in (_GRANTED, _CHARGED)
    )
    return Movements(granted, charged)


def _added(one: Buckets, other: Buckets) -> Buckets:
    return one[0] + other[0], one[1] + other[1]
