"""The audit: every balance equals its grants minus its deductions, and no batch is missing.

Runs on the reader thread, in one snapshot. Producers are evaluated in SQL: 100,000 of them take
well under a second.
"""

from typing import Any, Final

from accountd.data import models
from accountd.data.models import Account, RepeatedUsage, UsageMetric
from accountd.ledger.windows import missing_sequences
from accountd.request_params import Json, Params
from shared.usage import ESTIMATES, RejectReason

SHOWN_MAX: Final = 20  # missing sequences of a producer; accounts whose balance is wrong
# Incomplete producers that are shown, the latest first. An operator has to look at each of them,
# and the answer stays below 1 MB. The total counts them all.
INCOMPLETE_MAX: Final = 1_000
# Reasons for which usage is lost or perhaps not charged: an operator has to settle each message.
UNSETTLED: Final = (RejectReason.LOST, RejectReason.DOUBTFUL, RejectReason.CONFLICT)

# For every account, balance = sum of grants - sum of deductions, in both buckets. The query reads
# the rows of the table, not an index that has the deductions as well, so that a damaged page of the
# table is found.
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
