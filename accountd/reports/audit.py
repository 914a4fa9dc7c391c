"""The audit: every balance equals its grants minus its deductions, what a key spent is the sum of
its rows, and no batch is missing.

Runs on the reader thread. Rows are appended and never changed, and so is their index: so they are
summed a portion at a time, each in a short snapshot, and compared in a last one, which reads the
rows since. Producers are evaluated in SQL: 100,000 of them take well under a second.
"""

import copy
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

from accountd.data import models
from accountd.data.models import Account, RepeatedUsage, in_sql
from accountd.data.snapshots import in_snapshots
from accountd.ledger.expectations import expected
from accountd.ledger.key_spending import DAY_MS
from accountd.ledger.windows import missing_sequences
from accountd.request_params import Json, Params
from accountd.times import iso_of_ms
from shared.fields import RejectReason
from shared.usage import ESTIMATES

SHOWN_MAX: Final = 20  # missing sequences of a producer; accounts whose balance is wrong
# Incomplete producers that are shown, the latest first. An operator has to look at each of them,
# and the answer stays below 1 MB. The total counts them all.
INCOMPLETE_MAX: Final = 1_000
# Reasons for which usage is lost or perhaps not charged: an operator has to settle each message.
UNSETTLED: Final = (RejectReason.LOST, RejectReason.DOUBTFUL, RejectReason.CONFLICT)

# For every account, balance = sum of grants - sum of deductions, in both buckets. The sums come
# from the rows, not from the index that has the deductions as well, so that a damaged page of the
# rows is found; so many in a snapshot that it takes a tenth of a second.
_ROWS_TOGETHER: Final = 100_000
_SEGMENTS_TOGETHER: Final = 4
_DEDUCTED: Final = """
    SELECT account, sum(topup_deducted), sum(token_deducted), count(*), sum(is_estimate) FROM usage
    WHERE id > ? AND id <= ? GROUP BY account
"""
_LAST_ROW: Final = "SELECT coalesce(max(id), 0) FROM usage"
_LAST_SEGMENT: Final = "SELECT coalesce(max(number), 0) FROM usage_segments"
_NAMES: Final = "SELECT number, account_id FROM usage_accounts"
_GRANTED: Final = """
    SELECT a.id, a.topup_remaining, a.token_remaining, coalesce(g.topup, 0), coalesce(g.token, 0)
    FROM accounts a
    LEFT JOIN (SELECT account_id, sum(topup_delta) AS topup, sum(token_delta) AS token
               FROM credit_grants GROUP BY account_id) g ON g.account_id = a.id
    ORDER BY a.id
"""
# The segments of the index that do not say the same as their rows.
_WRONG_SEGMENTS: Final = """
    SELECT s.number FROM usage_segments s
    WHERE s.number > ? AND s.number <= ? AND (
          (SELECT count(*) FROM usage u WHERE u.id BETWEEN s.first_row AND s.last_row)
       <> (SELECT count(*) FROM usage_entries e JOIN usage u
             ON u.id = e.id AND u.account = e.account AND u.topup_deducted = e.topup_deducted
            AND u.token_deducted = e.token_deducted AND u.metered_at = e.metered_at
            AND u.session = e.session AND u.label = e.label AND u.responses = e.responses
            AND u.input_tokens = e.input_tokens AND u.output_tokens = e.output_tokens
            AND u.total_tokens = e.total_tokens
           WHERE e.segment = s.number AND e.id BETWEEN s.first_row AND s.last_row
             AND e.metered_at BETWEEN s.metered_from AND s.metered_to)
       OR EXISTS (  -- a row before it that is in no segment
           SELECT 1 FROM usage u WHERE u.id < s.first_row
              AND u.id > (SELECT coalesce(max(b.last_row), 0) FROM usage_segments b
                          WHERE b.number < s.number)))
"""
# What the rows of keys took, by key and day; and what is stored of it.
_SPENT: Final = f"""
    SELECT o.key, u.metered_at / {DAY_MS}, sum(u.topup_deducted + u.token_deducted)
    FROM usage_of_keys o JOIN usage u ON u.id = o.id
    WHERE o.id > ? AND o.id <= ? GROUP BY 1, 2
"""  # noqa: S608 - constants only
# The same of rows that are in archives.
_ARCHIVED_PORTIONS: Final = "SELECT coalesce(sum(portions), 0) FROM archives"
_ARCHIVED_DEDUCTED: Final = f"""
    SELECT s.account, sum(s.topup_deducted), sum(s.token_deducted), sum(s.rows),
           sum(iif(k.kind IN {in_sql(ESTIMATES)}, s.rows, 0))
    FROM usage_summaries s JOIN usage_labels k ON k.number = s.label GROUP BY 1
"""  # noqa: S608 - constants only
_ARCHIVED_SPENT: Final = "SELECT key, day, credits FROM archived_spending"
_SPENDING: Final = "SELECT key, day, credits FROM key_spending"
_KEYS: Final = "SELECT number, key_hash FROM usage_keys"
_SPENDING_COLUMNS: Final = ("key_hash", "day", "credits_found", "credits_expected")

_DRIFT_COLUMNS: Final = (
    "account_id", "topup_found", "token_found", "topup_expected", "token_expected",
)  # fmt: skip

_WAITING: Final = """
    SELECT reason, count(*) FROM rejected_usage
    WHERE retried_at IS NULL AND dismissed_at IS NULL GROUP BY reason
"""
_HAS_AHEAD: Final = "EXISTS (SELECT 1 FROM applied_ahead a WHERE a.producer = p.producer)"
# COMPLETE: an end marker was received, and all batches up to it were. OPEN: no end marker, no hole.
_COUNTS: Final = f"""
    SELECT count(*),
           coalesce(sum(p.ended_at = p.applied_through AND NOT {_HAS_AHEAD}), 0),
           coalesce(sum(p.ended_at IS NULL AND NOT {_HAS_AHEAD}), 0)
    FROM producers p
"""  # noqa: S608 - constants only
# INCOMPLETE: a hole, fewer batches than the end marker says, or batches beyond it.
_INCOMPLETE: Final = f"""
    SELECT p.producer, p.applied_through, p.ended_at
    FROM producers p
    WHERE p.ended_at <> p.applied_through OR {_HAS_AHEAD}
    ORDER BY p.last_seen_at DESC, p.producer
    LIMIT ?
"""  # noqa: S608 - constants only
_AHEAD_EXTENT: Final = (
    "SELECT count(*), coalesce(max(sequence), 0) FROM applied_ahead WHERE producer = ?"
)
_AHEAD: Final = "SELECT sequence FROM applied_ahead WHERE producer = ? ORDER BY sequence"


def audit(_params: Params) -> Json:
    """Check every balance, the batches of every producer, and the unsettled usage in quarantine."""
    rows = _Rows()
    return in_snapshots(rows.read_some, lambda: _compared(rows))


class _Sums:
    """What rows have taken from accounts, and what those of keys have spent by day."""

    def __init__(self) -> None:
        self.deducted: dict[int, tuple[int, int]] = {}
        self.spent: defaultdict[tuple[int, int], int] = defaultdict(int)
        self.rows = self.estimates = 0

    def add(self, deducted: Iterable[Any], spent: Iterable[Any]) -> None:
        """Add the rows of ``_DEDUCTED`` and ``_SPENT``."""
        for number, topup, token, rows, estimates in deducted:
            before = self.deducted.get(number, (0, 0))
            self.deducted[number] = before[0] + topup, before[1] + token
            self.rows, self.estimates = self.rows + rows, self.estimates + estimates
        for key, day, taken in spent:
            self.spent[key, day] += taken


class _Rows:
    """The sums of the rows that were read so far, and the segments that differ from them."""

    def __init__(self) -> None:
        self._archived = 0  # portions of rows that have moved to archives
        self._begin()

    def _begin(self) -> None:
        self.sums = _Sums()
        self.wrong_segments: list[int] = []
        self._row = self._segment = 0  # the last ones that were read

    def read_some(self) -> bool:
        """Read the next rows and segments; true when there are no more.

        Where rows have moved to an archive since, it begins anew: they are in the sums that stay.
        """
        ((archived,),) = _rows(_ARCHIVED_PORTIONS)
        if archived != self._archived:
            self._archived = archived
            self._begin()
        ((last_row,),), ((last_segment,),) = _rows(_LAST_ROW), _rows(_LAST_SEGMENT)
        row = min(self._row + _ROWS_TOGETHER, last_row)
        segment = min(self._segment + _SEGMENTS_TOGETHER, last_segment)
        deducted, spent = _rows(_DEDUCTED, self._row, row), _rows(_SPENT, self._row, row)
        wrong = _rows(_WRONG_SEGMENTS, self._segment, segment)
        # All of it is read: from here on it counts.
        self.sums.add(deducted, spent)
        self.wrong_segments += [number for (number,) in wrong]
        self._row, self._segment = row, segment
        return bool(row == last_row and segment == last_segment)

    def with_archived(self) -> _Sums:
        """All sums, with those that stay of rows in archives."""
        found = copy.deepcopy(self.sums)
        found.add(_rows(_ARCHIVED_DEDUCTED), _rows(_ARCHIVED_SPENT))
        return found


def _compared(rows: _Rows) -> Json:
    """The answer, in one snapshot with the last of the rows."""
    sums = rows.with_archived()
    drift, wrong_spending = _drift(sums), _wrong_spending(sums)
    producers = _producers()
    rejected = _rejected_by_reason()
    missing = expected()
    unsettled = {str(reason): rejected[reason] for reason in UNSETTLED if reason in rejected}
    is_ok = not (
        drift
        or rows.wrong_segments
        or wrong_spending
        or producers["incomplete_total"]
        or unsettled
        or missing["usage_total"]
        or missing["changes_total"]
        or missing["changes_unknown_after"] is not None
    )
    return {
        "ok": is_ok,
        "accounts": Account.select().count(),
        "usage_rows": rows.sums.rows,
        "archived_rows": sums.rows - rows.sums.rows,
        "estimates": sums.estimates,
        "repeated": RepeatedUsage.select().count(),
        "rejected": sum(rejected.values()),
        "rejected_by_reason": rejected,
        "unsettled": unsettled,
        "wrong_segments": rows.wrong_segments[:SHOWN_MAX],
        "wrong_spending": wrong_spending[:SHOWN_MAX],
        "drift": drift[:SHOWN_MAX],
        "drift_total": len(drift),
        "producers": producers,
        "expected": missing,
    }


def _wrong_spending(sums: _Sums) -> list[Json]:
    """The days of keys whose sum is not that of their rows."""
    names = dict(_rows(_KEYS))
    stored = {(key, day): total for key, day, total in _rows(_SPENDING)}
    wrong = [
        (names[key], iso_of_ms(day * DAY_MS)[:10], *found)
        for key, day in stored.keys() | sums.spent.keys()
        for found in [(stored.get((key, day), 0), sums.spent.get((key, day), 0))]
        if found[0] != found[1]
    ]
    return [dict(zip(_SPENDING_COLUMNS, row, strict=True)) for row in sorted(wrong)]


def _drift(sums: _Sums) -> list[Json]:
    """The accounts whose balance is not their grants less their deductions."""
    names = dict(_rows(_NAMES))
    deducted = {names[number]: taken for number, taken in sums.deducted.items()}
    found = []
    for account, *balance, topup, token in _rows(_GRANTED):
        taken = deducted.get(account, (0, 0))
        expected = [topup - taken[0], token - taken[1]]
        if balance != expected:
            found.append(dict(zip(_DRIFT_COLUMNS, (account, *balance, *expected), strict=True)))
    return found


def _rejected_by_reason() -> dict[str, int]:
    """Messages in quarantine that were neither charged by a retry nor dismissed."""
    return dict(_rows(_WAITING))


def _producers() -> Json:
    ((total, complete, still_open),) = _rows(_COUNTS)
    return {
        "total": total,
        "complete": complete,
        "open": still_open,
        "incomplete": [_incomplete(*row) for row in _rows(_INCOMPLETE, INCOMPLETE_MAX)],
        "incomplete_total": total - complete - still_open,
    }


def _incomplete(producer: bytes, applied_through: int, ended_at: int | None) -> Json:
    ((count, highest),) = _rows(_AHEAD_EXTENT, producer)
    ahead = (sequence for (sequence,) in models.database.execute_sql(_AHEAD, (producer,)))
    last = max(highest, ended_at or 0, applied_through)
    return {
        "producer": bytes(producer).hex(),
        "applied_through": applied_through,
        "ended_at": ended_at,
        "missing": missing_sequences(applied_through, ahead, ended_at, SHOWN_MAX),
        "missing_total": last - applied_through - count,
    }


def _rows(statement: str, *parameters: Any) -> list[Any]:
    found: list[Any] = models.database.execute_sql(statement, parameters).fetchall()
    return found
