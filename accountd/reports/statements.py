"""Statements: the balances, grants and charges of an account in a period.

Runs on the reader thread.

A period is ``since <= t < until``, so that two adjacent periods count everything once. A grant
belongs to the time at which it was made, a charge to the time at which the gateway *metered* it
(``metered_at``): usage of 23:59 that arrives after midnight belongs to the earlier day. So the
balance at a moment is the sum of the grants less the usage until then.

The closing balance is the stored balance without the grants and charges after the period, the
opening balance the sum of all before it. opening + grants - charges = closing is checked, as in the
audit. Days are UTC.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from accountd.data import models
from accountd.data.models import Account
from accountd.reports.account_usage import IS_CHARGED, MINE, RESPONSES, asked, read
from accountd.reports.period import DAY_MS, Period
from accountd.request_params import Json
from accountd.rpc_types import BUCKETS, SUMMED, GroupBy
from accountd.times import iso_of_ms

_DAY: Final = f"date(u.metered_at / {DAY_MS} * {DAY_MS // 1000}, 'unixepoch')"
# What is grouped by first, as few as there are; then the name, which a second group may share.
_KEYS: Final = {
    GroupBy.DAY: (_DAY, "g.key", ""),
    GroupBy.SESSION: ("u.session", "s.session_id", "JOIN usage_sessions s ON s.number = g.key"),
    GroupBy.MODEL: ("u.label", "l.model", "JOIN usage_labels l ON l.number = g.key"),
    GroupBy.KIND: ("u.label", "l.kind", "JOIN usage_labels l ON l.number = g.key"),
    None: ("0", "g.key", ""),
}

Buckets = tuple[int, int]  # top-up, tokens

_GROUPS: Final = f"""
    SELECT {{name}} AS name, max(g.last), sum(g.responses), sum(g.input), sum(g.output),
           sum(g.total), sum(g.topup), sum(g.token)
    FROM (
        SELECT {{key}} AS key, max(u.metered_at) AS last,
               sum({RESPONSES}) AS responses,
               sum(u.input_tokens) AS input, sum(u.output_tokens) AS output,
               sum(u.total_tokens) AS total, sum(u.topup_deducted) AS topup,
               sum(u.token_deducted) AS token
        FROM usage_by_account u JOIN usage_labels k ON k.number = u.label
        WHERE {MINE} AND {IS_CHARGED}
        GROUP BY 1
    ) g {{join}}
    GROUP BY 1 ORDER BY {{order}}
"""  # noqa: S608 - constants only
_GRANTED: Final = """
    SELECT coalesce(sum(topup_delta), 0), coalesce(sum(token_delta), 0) FROM credit_grants
    WHERE account_id = ? AND created_at >= ? AND created_at < ?
"""
_CHARGED: Final = f"""
    SELECT coalesce(sum(u.topup_deducted), 0), coalesce(sum(u.token_deducted), 0)
    FROM usage_by_account u WHERE {MINE}
"""  # noqa: S608 - constants only
_GRANTS: Final = """
    SELECT id, kind, topup_delta, token_delta, reason, created_at FROM credit_grants
    WHERE account_id = ? AND created_at >= ? AND created_at < ? ORDER BY created_at, id
"""
_GRANT_COLUMNS: Final = ("id", "kind", "topup_delta", "token_delta", "reason", "created_at")


@dataclass(frozen=True, slots=True)
class Movements:
    """Credits granted to and charged from both buckets in one period."""

    granted: Buckets
    charged: Buckets

    @property
    def left(self) -> Buckets:
        """Granted less charged, in each bucket."""
        return self.granted[0] - self.charged[0], self.granted[1] - self.charged[1]


def balances(account: Account, period: Period) -> Json:
    """Opening balance, grants, the sums granted and charged, closing balance, and ``adds_up``.

    Call it in one transaction with the other queries of an answer, so that all read one snapshot.
    """
    opening = _movements(account, period.before).left
    within, later = _movements(account, period), _movements(account, period.after).left
    closing = (account.topup_remaining - later[0], account.token_remaining - later[1])
    granted = (account.id, period.low, period.high)
    grants = models.database.execute_sql(_GRANTS, granted).fetchall()
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
    found = _grouped(account, by, period, order="1")
    return [with_credits({str(by): key, **sums}) for key, _, sums in found]


def newest_groups(account: Account, by: GroupBy, period: Period, *, limit: int) -> list[Json]:
    """The groups with the newest charges, at most ``limit``, with the time of that charge."""
    found = _grouped(account, by, period, order=f"2 DESC, 1 LIMIT {limit:d}")
    return [with_credits({str(by): key, "last_at": last, **sums}) for key, last, sums in found]


def totals(account: Account, period: Period) -> Json:
    """The sums of all charges in the period."""
    found = _grouped(account, None, period, order="1")
    return total_of([sums for _, _, sums in found])


def total_of(rows: list[Json]) -> Json:
    """The sums over groups."""
    return with_credits({name: sum(row[name] for row in rows) for name in SUMMED})


def with_credits(sums: Json) -> Json:
    """``sums`` with ``credits``: the deductions from both buckets together."""
    return {**sums, "credits": sums["topup_deducted"] + sums["token_deducted"]}


# --- helpers -------------------------------------------------------------------------------------


def _grouped(
    account: Account, by: GroupBy | None, period: Period, *, order: str
) -> Iterator[tuple[str, str, Json]]:
    """The groups, each as (value of ``by``, time of the newest charge, sums)."""
    key, name, join = _KEYS[by]
    statement = _GROUPS.format(key=key, name=name, join=join, order=order)
    for value, last_ms, *sums in read(statement, asked(account, period)):
        yield value, iso_of_ms(last_ms), dict(zip(SUMMED, sums, strict=True))


def _movements(account: Account, period: Period) -> Movements:
    granted = (account.id, period.low, period.high)
    (charged,) = read(_CHARGED, asked(account, period))
    return Movements(models.database.execute_sql(_GRANTED, granted).fetchone(), charged)


def _added(one: Buckets, other: Buckets) -> Buckets:
    return one[0] + other[0], one[1] + other[1]
