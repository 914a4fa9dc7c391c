"""Reads the usage rows of one account, through the index over accounts.

The index has a part for every ten thousand rows (``ledger.usage_index``). Sums over the rows are
read a few parts at a time, each time in a short snapshot (``gather``). A page of the newest rows
reads only as many parts as it needs.
"""

from collections.abc import Callable, Iterable, Mapping
from operator import add
from typing import Any, Final, TypeVar

from accountd.data import models
from accountd.data.models import Account, UsageMetric, in_sql
from accountd.data.snapshots import in_snapshot, in_snapshots
from accountd.reports.period import DAY_MS, Period
from accountd.request_params import RequestError
from shared.usage import ESTIMATES, USAGE_FIELDS, Kind

Answer = TypeVar("Answer")
Sums = dict[Any, list[Any]]
"""By a key: the greatest of the first column, and the sums of the others."""

SEGMENTS_TOGETHER: Final = 16  # a quarter of a million rows of all accounts

_COLUMNS: Final = (
    "{0}.id, {0}.metered_at, {0}.session, {0}.label, {0}.responses, {0}.topup_deducted,"
    " {0}.token_deducted"
)
_ENTRIES: Final = (
    f"SELECT {_COLUMNS.format('e')}, 1 AS rows, {{fields}}"  # noqa: S608 - constants only
    " FROM usage_segments s CROSS JOIN usage_entries e ON e.segment = s.number {join}"
    " WHERE s.number > :after AND s.number <= :through"
    " AND e.account = (SELECT number FROM usage_accounts WHERE account_id = :account) {period}"
)
_TAIL: Final = (
    f"SELECT {_COLUMNS.format('e')}, 1 AS rows, {{fields}} FROM usage e"  # noqa: S608 - constants only
    " WHERE e.id > (SELECT coalesce(max(last_row), 0) FROM usage_segments)"
    " AND e.account = (SELECT number FROM usage_accounts WHERE account_id = :account) {period}"
)
# What stays of rows that are in an archive: a row for a day and label, see ``migrations``.
_ARCHIVED: Final = (
    " UNION ALL SELECT 0, e.metered_at, 0, e.label, e.responses, e.topup_deducted,"
    " e.token_deducted, e.rows, {fields} FROM usage_summaries e"
    " WHERE e.account = (SELECT number FROM usage_accounts WHERE account_id = :account) {period}"
)
_WITHIN: Final = "AND e.metered_at >= :low AND e.metered_at < :high"
_PARTS_WITHIN: Final = f"{_WITHIN} AND s.metered_to >= :low AND s.metered_from < :high"
_FEW: Final = "{0}.input_tokens, {0}.output_tokens, {0}.total_tokens"
_MANY: Final = ", ".join(f"{{0}}.{name}" for name in USAGE_FIELDS)
_JOIN: Final = "JOIN usage r ON r.id = e.id"


def _sources(form: str, *, many: str, join: str, within: str) -> dict[str, str]:
    """The subqueries that a statement may name, see ``gather``."""
    few, all_fields = _FEW.format("e"), _MANY.format(many)
    return {
        "all_rows": f"({form.format(fields=few, join='', period='')})",
        "rows": f"({form.format(fields=few, join='', period=within)})",
        "full_rows": f"({form.format(fields=all_fields, join=join, period=within)})",
    }


_OF_SEGMENTS: Final = _sources(_ENTRIES, many="r", join=_JOIN, within=_PARTS_WITHIN)
_OF_TAIL: Final = _sources(_TAIL + _ARCHIVED, many="e", join="", within=_WITHIN)
# Of an entry ``u`` with its label ``k``: an estimate without a deduction was not charged, and
# transcriptions and durations are no responses.
IS_CHARGED: Final = (
    f"NOT (k.kind IN {in_sql(ESTIMATES)} AND u.topup_deducted = 0 AND u.token_deducted = 0)"
)
RESPONSES: Final = f"iif(k.kind IN {in_sql((Kind.RESPONSE, Kind.ESTIMATE))}, u.responses, 0)"
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
_ARCHIVED_PORTIONS: Final = "SELECT coalesce(sum(portions), 0) FROM archives"
_HAS_SUMS_OF_DAY: Final = """
    SELECT EXISTS (
        SELECT 1 FROM usage_summaries WHERE day = :day
        AND account = (SELECT number FROM usage_accounts WHERE account_id = :account)
    )
"""
_LAST_SEGMENT: Final = "SELECT coalesce(max(number), 0) FROM usage_segments"
_NO_ROW: Final = 2**63 - 1


def asked(account_id: str, period: Period) -> dict[str, Any]:
    """The parameters of every statement about rows of an account in a period."""
    return {"account": account_id, "low": period.low_ms, "high": period.high_ms}


def gather(
    account_id: str,
    period: Period,
    statements: Mapping[str, str],
    answer: Callable[[Mapping[str, Sums]], Answer],
) -> Answer:
    """What ``answer`` makes of the sums of ``statements``, which are by the same names.

    A statement selects a key, something whose greatest value counts, and sums. It reads from
    ``{rows}``, those in the period, ``{full_rows}``, the same with all fields, or ``{all_rows}``,
    those of all times. Rows that are in an archive are there by their sums for a day and label:
    ``rows`` says how many, the id is 0, and the session's number is 0.

    Raises ``RequestError`` for a period that begins or ends within a day of which such sums are.

    ``answer`` is called in the snapshot of the last rows, perhaps more than once.
    """
    reading = _Reading(asked(account_id, period), statements)
    return in_snapshots(reading.read_some, lambda: answer(reading.with_tail()))


class _Reading:
    """The sums over the segments that were read so far."""

    def __init__(self, parameters: Mapping[str, Any], statements: Mapping[str, str]) -> None:
        self._parameters = parameters
        self._statements = statements
        self._sums: dict[str, Sums] = {name: {} for name in statements}
        self._segment = 0
        self._archived = 0  # portions of rows that have moved to archives

    def read_some(self) -> bool:
        """Read the next segments; true when there are no more."""
        self._begin_anew_if_rows_have_moved()
        ((last,),) = models.database.execute_sql(_LAST_SEGMENT).fetchall()
        through = min(self._segment + SEGMENTS_TOGETHER, last)
        if through > self._segment:
            found = self._read(_OF_SEGMENTS, after=self._segment, through=through)
            self._sums = {name: _added(self._sums[name], some) for name, some in found.items()}
            self._segment = through
        return bool(through == last)

    def _begin_anew_if_rows_have_moved(self) -> None:
        ((archived,),) = read(_ARCHIVED_PORTIONS, {})
        if archived != self._archived:
            self._archived, self._segment = archived, 0
            self._sums = {name: {} for name in self._statements}

    def with_tail(self) -> Mapping[str, Sums]:
        """The sums with those of the rows that are in no segment, and of those in archives."""
        _check_days(self._parameters)
        found = self._read(_OF_TAIL)
        return {
            name: _added({key: list(sums) for key, sums in self._sums[name].items()}, some)
            for name, some in found.items()
        }

    def _read(self, sources: Mapping[str, str], **parameters: int) -> dict[str, list[Any]]:
        asked = {**self._parameters, **parameters}
        return {
            name: read(statement.format(**sources), asked)
            for name, statement in self._statements.items()
        }


def _check_days(asked: Mapping[str, Any]) -> None:
    for name, moment_ms in (("since", asked["low"]), ("until", asked["high"])):
        day, rest = divmod(moment_ms, DAY_MS)
        if rest and read(_HAS_SUMS_OF_DAY, {"account": asked["account"], "day": day}) != [(0,)]:
            raise RequestError(
                "bad_request",
                f"{name}: the rows of that day are in an archive: name the begin of a day, in UTC",
            )


def _added(sums: Sums, rows: Iterable[Any]) -> Sums:
    """``sums`` with those of ``rows`` in it."""
    for key, last, *some in rows:
        before = sums.get(key)
        if before is None:
            sums[key] = [last, *some]
        else:
            before[0] = max(before[0], last)
            before[1:] = map(add, before[1:], some)
    return sums


def newest_rows(
    account: Account, period: Period, *, before: int | None, limit: int
) -> list[UsageMetric]:
    """The account's rows in the period with ids below ``before``, newest first.

    Read in one snapshot: a segment that is completed between two queries would have rows that the
    tail had as well.
    """
    parameters = {**asked(account.id, period), "before": before or _NO_ROW, "limit": limit}

    def found() -> list[UsageMetric]:
        ids = [row_id for (row_id,) in read(_NEWEST_OF_TAIL, parameters)]
        if len(ids) < limit:
            rest = {**parameters, "limit": limit - len(ids)}
            ids += [row_id for (row_id,) in read(_NEWEST_OF_SEGMENTS, rest)]
        rows: Iterable[UsageMetric] = UsageMetric.select().where(UsageMetric.id.in_(ids))
        return sorted(rows, key=lambda row: -row.id)

    return in_snapshot(found)


def read(statement: str, parameters: dict[str, Any]) -> list[Any]:
    """The rows of a statement with named parameters."""
    found: list[Any] = models.database.execute_sql(statement, parameters).fetchall()
    return found
