"""Reads the usage rows of one account in a period, through the index over accounts.

The index has a part for every ten thousand rows (``ledger.usage_index``). A period leaves out whole
parts, and a page of the newest rows reads only as many as it needs.
"""

from collections.abc import Iterable
from typing import Any, Final

from accountd.data import models
from accountd.data.models import Account, UsageMetric, in_sql
from accountd.reports.period import Period
from shared.usage import ESTIMATES, Kind

# What an ``usage_by_account u`` is asked for; its parameters are those of ``asked``.
MINE: Final = """
    u.account = (SELECT number FROM usage_accounts WHERE account_id = :account)
    AND u.metered_at >= :low AND u.metered_at < :high
    AND u.part_to >= :low AND u.part_from < :high
"""
# Of an entry ``u`` with its label ``k``: an estimate without a deduction was not charged, and
# transcriptions and durations are no responses.
IS_CHARGED: Final = (
    f"NOT (k.kind IN {in_sql(ESTIMATES)} AND u.topup_deducted = 0 AND u.token_deducted = 0)"
)
RESPONSES: Final = f"iif(k.kind IN {in_sql((Kind.RESPONSE, Kind.ESTIMATE))}, u.responses, 0)"
_COUNT: Final = f"SELECT count(*) FROM usage_by_account u WHERE {MINE}"  # noqa: S608
# The tail, which has no index yet; then the segments, the newest first: each is in the order of its
# ids, so that SQLite stops at the limit.
_NEWEST_OF_TAIL: Final = """
    SELECT u.id FROM usage u
    WHERE u.id > (SELECT coalesce(max(last_row), 0) FROM usage_segments) AND u.id < :before
      AND u.account = (SELECT number FROM usage_accounts WHERE account_id = :account)
      AND u.metered_at >= :low AND u.metered_at < :high
    ORDER BY u.id DESC LIMIT :limit
"""
_NEWEST_OF_SEGMENTS: Final = """
    SELECT u.id FROM usage_segments s CROSS JOIN usage_entries u ON u.segment = s.number
    WHERE s.first_row < :before AND s.metered_to >= :low AND s.metered_from < :high
      AND u.account = (SELECT number FROM usage_accounts WHERE account_id = :account)
      AND u.id < :before AND u.metered_at >= :low AND u.metered_at < :high
    ORDER BY s.number DESC, u.id DESC LIMIT :limit
"""
_NO_ROW: Final = 2**63 - 1


def asked(account: Account, period: Period) -> dict[str, Any]:
    """The parameters of ``MINE``."""
    return {"account": account.id, "low": period.low_ms, "high": period.high_ms}


def count_rows(account: Account, period: Period) -> int:
    """The number of the account's rows in the period."""
    ((count,),) = read(_COUNT, asked(account, period))
    return int(count)


def newest_rows(
    account: Account, period: Period, *, before: int | None, limit: int
) -> list[UsageMetric]:
    """The account's rows in the period with ids below ``before``, newest first.

    Read in one snapshot: a segment that is completed between two queries would have rows that the
    tail had as well.
    """
    parameters = {**asked(account, period), "before": before or _NO_ROW, "limit": limit}
    with models.database.atomic():
        ids = [row_id for (row_id,) in read(_NEWEST_OF_TAIL, parameters)]
        if len(ids) < limit:
            rest = {**parameters, "limit": limit - len(ids)}
            ids += [row_id for (row_id,) in read(_NEWEST_OF_SEGMENTS, rest)]
        rows: Iterable[UsageMetric] = UsageMetric.select().where(UsageMetric.id.in_(ids))
        return sorted(rows, key=lambda row: -row.id)


def read(statement: str, parameters: dict[str, Any]) -> list[Any]:
    """The rows of a statement with named parameters."""
    found: list[Any] = models.database.execute_sql(statement, parameters).fetchall()
    return found
