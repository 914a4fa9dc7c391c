"""The audit: every balance equals its grants minus its deductions, what a key spent is the sum of
its rows, and no batch is missing.

Runs on the reader thread, in one snapshot. Producers are evaluated in SQL: 100,000 of them take
well under a second.
"""

from collections.abc import Mapping
from typing import Any, Final

from accountd.data import models
from accountd.data.models import Account, RepeatedUsage
from accountd.ledger.key_spending import DAY_MS
from accountd.ledger.windows import missing_sequences
from accountd.request_params import Json, Params
from shared.fields import RejectReason

SHOWN_MAX: Final = 20  # missing sequences of a producer; accounts whose balance is wrong
# Incomplete producers that are shown, the latest first. An operator has to look at each of them,
# and the answer stays below 1 MB. The total counts them all.
INCOMPLETE_MAX: Final = 1_000
# Reasons for which usage is lost or perhaps not charged: an operator has to settle each message.
UNSETTLED: Final = (RejectReason.LOST, RejectReason.DOUBTFUL, RejectReason.CONFLICT)

# For every account, balance = sum of grants - sum of deductions, in both buckets. The sums come
# from the rows, not from the index that has the deductions as well, so that a damaged page of the
# rows is found; so many at a time that they are sorted in a few megabytes.
_ROWS_TOGETHER: Final = 200_000
_DEDUCTED: Final = """
    SELECT account, sum(topup_deducted), sum(token_deducted), count(*), sum(is_estimate) FROM usage
    WHERE id > ? AND id <= ? GROUP BY account
"""
_LAST_ROW: Final = "SELECT coalesce(max(id), 0) FROM usage"
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
    WHERE (SELECT count(*) FROM usage u WHERE u.id BETWEEN s.first_row AND s.last_row)
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
                          WHERE b.number < s.number))
"""
# The days of keys whose sum is not that of their rows.
_WRONG_SPENDING: Final = f"""
    SELECT k.key_hash, date(s.day * 86400, 'unixepoch'), sum(s.found), sum(s.expected)
    FROM (
        SELECT key, day, credits AS found, 0 AS expected FROM key_spending
        UNION ALL
        SELECT o.key, u.metered_at / {DAY_MS}, 0, u.topup_deducted + u.token_deducted
        FROM usage_of_keys o JOIN usage u ON u.id = o.id
    ) s JOIN usage_keys k ON k.number = s.key
    GROUP BY s.key, s.day HAVING sum(s.found) <> sum(s.expected)
    ORDER BY k.key_hash, s.day
"""  # noqa: S608 - constants only
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
    with models.database.atomic():  # one snapshot for all queries
        deducted, rows, estimates = _deductions()
        drift = _drift(deducted)
        wrong_segments = [number for (number,) in _rows(_WRONG_SEGMENTS)]
        wrong_spending = _rows(_WRONG_SPENDING)
        producers = _producers()
        rejected = _rejected_by_reason()
        counts = {
            "accounts": Account.select().count(),
            "usage_rows": rows,
            "estimates": estimates,
            "repeated": RepeatedUsage.select().count(),
            "rejected": sum(rejected.values()),
            "rejected_by_reason": rejected,
        }
    unsettled = {str(reason): rejected[reason] for reason in UNSETTLED if reason in rejected}
    is_ok = not (
        drift or wrong_segments or wrong_spending or producers["incomplete_total"] or unsettled
    )
    return {
        "ok": is_ok,
        **counts,
        "unsettled": unsettled,
        "wrong_segments": wrong_segments[:SHOWN_MAX],
        "wrong_spending": [
            dict(zip(_SPENDING_COLUMNS, row, strict=True)) for row in wrong_spending[:SHOWN_MAX]
        ],
        "drift": drift[:SHOWN_MAX],
        "drift_total": len(drift),
        "producers": producers,
    }


def _deductions() -> tuple[dict[str, tuple[int, int]], int, int]:
    """What was taken from both buckets of each account; the numbers of rows, and of estimates."""
    names = dict(_rows(_NAMES))
    sums: dict[str, tuple[int, int]] = {}
    rows = estimates = 0
    ((last,),) = _rows(_LAST_ROW)
    for start in range(0, last, _ROWS_TOGETHER):
        some = _rows(_DEDUCTED, start, start + _ROWS_TOGETHER)
        for number, topup, token, count, estimated in some:
            before = sums.get(names[number], (0, 0))
            sums[names[number]] = before[0] + topup, before[1] + token
            rows, estimates = rows + count, estimates + estimated
    return sums, rows, estimates


def _drift(deducted: Mapping[str, tuple[int, int]]) -> list[Json]:
    """The accounts whose balance is not their grants less their deductions."""
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
