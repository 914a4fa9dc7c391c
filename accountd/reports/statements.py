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

import json
import operator
from collections.abc import Iterable, Mapping
from typing import Any, Final

from accountd.data import models
from accountd.data.models import Account
from accountd.reports.account_usage import IS_CHARGED, RESPONSES, Sums
from accountd.reports.period import DAY_MS, Period
from accountd.request_params import Json
from accountd.rpc_types import BUCKETS, SUMMED, GroupBy
from accountd.times import iso_of_ms

# What the rows are grouped by, and the names of these keys where a key is a number.
_KEYS: Final = {
    GroupBy.DAY: f"u.metered_at / {DAY_MS}",
    GroupBy.SESSION: "u.session",
    GroupBy.MODEL: "u.label",
    GroupBy.KIND: "u.label",
}
_NAMES: Final = {
    GroupBy.SESSION: "SELECT number, session_id FROM usage_sessions"
    " WHERE number IN (SELECT value FROM json_each(?))",
    GroupBy.MODEL: "SELECT number, model FROM usage_labels"
    " WHERE number IN (SELECT value FROM json_each(?))",
    GroupBy.KIND: "SELECT number, kind FROM usage_labels"
    " WHERE number IN (SELECT value FROM json_each(?))",
}

# All sessions of days whose rows are in an archive.
ARCHIVED_SESSION: Final = 0
ARCHIVED: Final = "(archived)"

Buckets = tuple[int, int]  # top-up, tokens
Group = tuple[str, int, Json]
"""The value by which is grouped, the time of the newest charge (Unix, ms), and the sums."""

_GROUPS: Final = f"""
    SELECT {{key}}, max(u.metered_at), sum({RESPONSES}), sum(u.input_tokens),
           sum(u.output_tokens), sum(u.total_tokens), sum(u.topup_deducted), sum(u.token_deducted)
    FROM {{{{rows}}}} u JOIN usage_labels k ON k.number = u.label
    WHERE {IS_CHARGED} GROUP BY 1
"""  # noqa: S608 - constants only
# Before the period, in it, and after it.
_BEFORE, _IN, _AFTER = 0, 1, 2
_CHARGED: Final = f"""
    SELECT CASE WHEN u.metered_at < :low THEN {_BEFORE} WHEN u.metered_at < :high THEN {_IN}
                ELSE {_AFTER} END,
           0, sum(u.topup_deducted), sum(u.token_deducted)
    FROM {{all_rows}} u GROUP BY 1
"""  # noqa: S608 - constants only
MOVEMENTS: Final[Mapping[str, str]] = {"charged": _CHARGED}
"""What ``balances`` asks ``account_usage.gather`` for."""
_GRANTED: Final = """
    SELECT coalesce(sum(topup_delta), 0), coalesce(sum(token_delta), 0) FROM credit_grants
    WHERE account_id = ? AND created_at >= ? AND created_at < ?
"""
_GRANTS: Final = """
    SELECT id, kind, topup_delta, token_delta, reason, created_at FROM credit_grants
    WHERE account_id = ? AND created_at >= ? AND created_at < ? ORDER BY created_at, id
"""
_GRANT_COLUMNS: Final = ("id", "kind", "topup_delta", "token_delta", "reason", "created_at")


def wanted(by: GroupBy) -> Mapping[str, str]:
    """What ``balances`` and ``groups`` ask ``account_usage.gather`` for."""
    return {**MOVEMENTS, "groups": _GROUPS.format(key=_KEYS[by])}


def balances(account: Account, period: Period, found: Mapping[str, Sums]) -> Json:
    """Opening balance, grants, the sums granted and charged, closing balance, and ``adds_up``.

    ``account`` and what this asks are of the snapshot in which ``found`` was completed.
    """
    charged = {when: (topup, token) for when, (_, topup, token) in found["charged"].items()}
    nothing = (0, 0)
    before, within, later = (charged.get(when, nothing) for when in (_BEFORE, _IN, _AFTER))
    granted = _granted(account, period)
    opening = _less(_granted(account, period.before), before)
    after = _less(_granted(account, period.after), later)
    closing = _less((account.topup_remaining, account.token_remaining), after)
    asked = (account.id, period.low, period.high)
    grants = models.database.execute_sql(_GRANTS, asked).fetchall()
    return {
        "since": period.since,
        "until": period.until,
        "opening": dict(zip(BUCKETS, opening, strict=True)),
        "grants": [dict(zip(_GRANT_COLUMNS, row, strict=True)) for row in grants],
        "granted": dict(zip(("topup_delta", "token_delta"), granted, strict=True)),
        "charged": dict(zip(("topup_deducted", "token_deducted"), within, strict=True)),
        "closing": dict(zip(BUCKETS, closing, strict=True)),
        "adds_up": closing == _less(_added(opening, granted), within),
    }


def groups(found: Mapping[str, Sums], by: GroupBy) -> list[Json]:
    """The charges of the period, grouped by ``by``."""
    return [with_credits({str(by): key, **sums}) for key, _, sums in sorted(_named(found, by))]


def newest_groups(found: Mapping[str, Sums], by: GroupBy, *, limit: int) -> list[Json]:
    """The groups with the newest charges, at most ``limit``, with the time of that charge."""
    newest = sorted(_named(found, by), key=lambda group: (-group[1], group[0]))[:limit]
    return [
        with_credits({str(by): key, "last_at": iso_of_ms(last), **sums})
        for key, last, sums in newest
    ]


def totals(found: Mapping[str, Sums]) -> Json:
    """The sums of all charges in the period."""
    return total_of([_summed(sums) for _, *sums in found["groups"].values()])


def total_of(rows: list[Json]) -> Json:
    """The sums over groups."""
    return with_credits({name: sum(row[name] for row in rows) for name in SUMMED})


def with_credits(sums: Json) -> Json:
    """``sums`` with ``credits``: the deductions from both buckets together."""
    return {**sums, "credits": sums["topup_deducted"] + sums["token_deducted"]}


# --- helpers -------------------------------------------------------------------------------------


def _named(found: Mapping[str, Sums], by: GroupBy) -> Iterable[Group]:
    """The groups by their names; several numbers may have the same."""
    numbers = found["groups"]
    names = _names(by, list(numbers))
    merged: dict[str, list[Any]] = {}
    for number, (last, *sums) in numbers.items():
        before = merged.get(names[number], [last, *(0 for _ in sums)])
        merged[names[number]] = [max(before[0], last), *map(operator.add, before[1:], sums)]
    return ((name, last, _summed(sums)) for name, (last, *sums) in merged.items())


def _names(by: GroupBy, numbers: list[int]) -> Mapping[int, str]:
    if by is GroupBy.DAY:
        return {day: iso_of_ms(day * DAY_MS)[:10] for day in numbers}
    rows = models.database.execute_sql(_NAMES[by], (json.dumps(numbers),)).fetchall()
    return {ARCHIVED_SESSION: ARCHIVED} | dict(rows)


def _summed(sums: Iterable[int]) -> Json:
    return dict(zip(SUMMED, sums, strict=True))


def _granted(account: Account, period: Period) -> Buckets:
    asked = (account.id, period.low, period.high)
    found: Buckets = models.database.execute_sql(_GRANTED, asked).fetchone()
    return found


def _added(one: Buckets, other: Buckets) -> Buckets:
    return one[0] + other[0], one[1] + other[1]


def _less(one: Buckets, other: Buckets) -> Buckets:
    return one[0] - other[0], one[1] - other[1]
