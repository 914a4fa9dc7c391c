"""The proof: every balance equals its grants minus its deductions, every producer is accounted for.

Runs on the reader thread, in one snapshot, and reads producers in SQL: 100,000 of them cost well
under a second.
"""

from typing import Any, Final

from accountd.data import models
from accountd.data.models import Account, RepeatedUsage, UsageMetric
from accountd.ledger.windows import missing_sequences
from accountd.requests import Json, Params
from shared.usage import ESTIMATES, RejectReason

SHOWN_MAX: Final = 20  # missing sequences of a producer, drifting accounts
# Incomplete producers that are shown, the latest first. Each is a gateway to look after: more
# would not be read, and the answer stays below a megabyte. The total counts them all.
INCOMPLETE_MAX: Final = 1_000
# Usage that is known to be lost or wrongly charged: an operator has to settle it.
UNSETTLED: Final = (RejectReason.LOST, RejectReason.DOUBTFUL, RejectReason.CONFLICT)

# D9: for every account, balance = sum of grants - sum of deductions, in both buckets. The rows
# themselves are read, in the order of an index, and not the index that repeats their deductions: a
# page that was damaged must not pass unread.
_DRIFT: Final = """
    SELECT a.id, a.topup_remaining, a.token_remaining,
           coalesce(g.topup, 0) - coalesce(u.topup, 0) AS topup_expected,
           coalesce(g.token, 0) - coalesce(u.token, 0) AS token_expected
    FROM accounts a
    LEFT JOIN (SELECT account_id, sum(topup_delta) AS topup, sum(token_delta) AS token
               FROM credit_grants GROUP BY account_id) g ON g.account_id = a.id
    LEFT JOIN (SELECT account_id, sum(topup_deducted) AS topup, sum(token_deducted) AS token
               FROM usage_metrics INDEXED BY idx_usage_account
               GROUP BY account_id) u ON u.account_id = a.id
    WHERE a.topup_remaining <> topup_expected OR a.token_remaining <> token_expected
    ORDER BY a.id
"""

_DRIFT_COLUMNS: Final = (
    "account_id", "topup_found", "token_found", "topup_expected", "token_expected",
)  # fmt: skip

_WAITING: Final = """
    SELECT reason, count(*) FROM rejected_usage
    WHERE retried_at IS NULL AND dismissed_at IS NULL GROUP BY reason
"""
_HAS_AHEAD: Final = "EXISTS (SELECT 1 FROM applied_ahead a WHERE a.producer = p.producer)"
# COMPLETE: it said where it ended, and exactly that has come. OPEN: no end yet and no hole.
_COUNTS: Final = f"""
    SELECT count(*),
           coalesce(sum(p.ended_at = p.applied_through AND NOT {_HAS_AHEAD}), 0),
           coalesce(sum(p.ended_at IS NULL AND NOT {_HAS_AHEAD}), 0)
    FROM producers p
"""  # noqa: S608 - constants only
# INCOMPLETE: a hole, an end that has not been reached, or sequences beyond the end.
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
    """Prove the ledger: every balance, every producer's batches without a hole, nothing lost."""
    with models.database.atomic():  # one snapshot for all the questions
        drift = [dict(zip(_DRIFT_COLUMNS, row, strict=True)) for row in _rows(_DRIFT)]
        producers = _producers()
        rejected = _rejected_by_reason()
        counts = {
            "accounts": Account.select().count(),
            "usage_rows": UsageMetric.select().count(),
            "estimates": UsageMetric.select().where(UsageMetric.kind.in_(ESTIMATES)).count(),
            "repeated": RepeatedUsage.select().count(),
            "rejected": sum(rejected.values()),
            "rejected_by_reason": rejected,
        }
    unsettled = {str(reason): rejected[reason] for reason in UNSETTLED if reason in rejected}
    is_ok = not (drift or producers["incomplete_total"] or unsettled)
    return {
        "ok": is_ok,
        **counts,
        "unsettled": unsettled,
        "drift": drift[:SHOWN_MAX],
        "drift_total": len(drift),
        "producers": producers,
    }


def _rejected_by_reason() -> dict[str, int]:
    """How much waits in quarantine: neither charged by a retry nor dismissed."""
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
