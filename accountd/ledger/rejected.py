"""The quarantine: usage that could not be applied, whole. List it, show it, charge it once.

Listing and showing run on the reader thread; ``Quarantine`` runs on the writer, in one transaction
a request. A retry goes through the same decision as usage that arrives; a dismissal settles what
was handled otherwise, and says how.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgpack

from accountd.clock import now_iso
from accountd.data.database import transaction
from accountd.data.models import RejectedUsage
from accountd.ledger.changed_accounts import ChangedAccounts
from accountd.ledger.charging import Unchargeable, crossing
from accountd.ledger.decision import decide_retry
from accountd.ledger.decision_types import Rejection, Retried
from accountd.ledger.estimates import EstimatePolicy
from accountd.ledger.group_commit import (
    begin_estimates,
    write_balances,
    write_crossings,
    write_shared,
)
from accountd.ledger.rate_card_file import RateCardFile
from accountd.ledger.retry_state import RetryState
from accountd.ledger.shared_responses import AlreadyCharged
from accountd.ledger.usage_rows import UsageRows
from accountd.request_params import Json, Params, RequestError
from shared.usage import ID_CHARS_MAX

ROWS_MAX: Final = 1_000
SETTLED_TOGETHER_MAX: Final = 1_000
ROW_ID_MAX: Final = 2**63 - 1
# A usage message is two maps deep; what is nested further is not ours and is not unfolded.
_DEPTH_MAX: Final = 6

_READ: Final = """
    SELECT producer, sequence, reason, detail, payload, received_at FROM rejected_usage WHERE id = ?
"""
_READ_SETTLED: Final = (
    "SELECT retried_at, dismissed_at, dismissed_reason FROM rejected_usage WHERE id = ?"
)
_MARK: Final = "UPDATE rejected_usage SET retried_at = ?, usage_id = ? WHERE id = ?"
_DISMISS: Final = "UPDATE rejected_usage SET dismissed_at = ?, dismissed_reason = ? WHERE id = ?"


def list_rejected(params: Params) -> Json:
    """What waits in quarantine, newest first; with ``all`` what was settled too."""
    limit = params.optional_integer("limit", 1, ROWS_MAX) or ROWS_MAX
    wanted = RejectedUsage.select()
    if not params.flag("all"):
        wanted = wanted.where(
            RejectedUsage.retried_at.is_null() & RejectedUsage.dismissed_at.is_null()
        )
    rows = wanted.order_by(RejectedUsage.id.desc()).limit(limit)
    return {"rejected": [_summary(row) for row in rows], "total": wanted.count()}


def show_rejected(params: Params) -> Json:
    """One message: what can be read of it, and all of its bytes."""
    row_id = params.integer("id", 1, ROW_ID_MAX)
    row = RejectedUsage.get_or_none(RejectedUsage.id == row_id)
    if row is None:
        raise RequestError(
            "not_found", f"no rejected usage {row_id}; accountctl rejected list --all shows all"
        )
    payload = bytes(row.payload)
    return {**_summary(row), "fields": _fields(payload), "payload": payload.hex()}


class Quarantine:
    """Settles what could not be applied when it came. ``connection`` is the writer's.

    ``on_begun`` is told, after the COMMIT, whose estimates are charged from now on.
    """

    def __init__(
        self,
        connection: Any,
        usage: UsageRows,
        rate_card: RateCardFile,
        changes: ChangedAccounts | None = None,
        *,
        estimates: EstimatePolicy | None = None,
        on_begun: Callable[[Sequence[str]], None] | None = None,
    ) -> None:
        self._connection = connection
        self._usage = usage
        self._rate_card = rate_card
        self._changes = changes or ChangedAccounts()
        self._estimates = estimates or EstimatePolicy()
        self._on_begun = on_begun
        self._begun: list[str] = []

    def retry(self, params: Params) -> Json:
        """Try the messages ``ids`` again, in their order, in one transaction.

        What can be applied now is charged, once; what cannot stays as it is, with the reason in
        the answer. ``ok`` says that all were charged.
        """
        ids = params.integers("ids", 1, ROW_ID_MAX, at_most=SETTLED_TOGETHER_MAX)
        self._begun = []
        with self._usage.transaction():
            state = RetryState(self._connection)
            results = [self._retry(row_id, state, now_iso()) for row_id in ids]
        if self._begun and self._on_begun is not None:
            self._on_begun(self._begun)
        for result in results:
            if result["outcome"] == "charged":
                self._changes.note(result["account_id"])
        return {"ok": all(r["outcome"] == "charged" for r in results), "results": results}

    def dismiss(self, params: Params) -> Json:
        """Settle the messages ``ids`` without a charge; the ``reason`` stays on each row.

        One that was dismissed before keeps its first reason. ``ok`` says that all are dismissed.
        """
        ids = params.integers("ids", 1, ROW_ID_MAX, at_most=SETTLED_TOGETHER_MAX)
        reason = params.words("reason")
        with transaction(self._connection):
            results = [self._dismiss(row_id, reason, now_iso()) for row_id in ids]
        return {"ok": all(r["outcome"] == "dismissed" for r in results), "results": results}

    def _dismiss(self, row_id: int, reason: str, now: str) -> Json:
        settled = self._settled(row_id)
        if settled is None:
            self._connection.execute(_DISMISS, (now, reason, row_id))
            return _left(row_id, "dismissed", reason)
        return settled

    def _settled(self, row_id: int) -> Json | None:
        """Why there is nothing to settle, or None when the message waits."""
        row = self._connection.execute(_READ_SETTLED, (row_id,)).fetchone()
        if row is None:
            return _left(row_id, "not_found", "no such rejected usage")
        retried_at, dismissed_at, reason = row
        if retried_at is not None:
            return _left(row_id, "already_retried", f"already retried at {retried_at}")
        if dismissed_at is not None:
            return _left(row_id, "dismissed", f"dismissed at {dismissed_at}: {reason}")
        return None

    def _retry(self, row_id: int, state: RetryState, now: str) -> Json:
        settled = self._settled(row_id)
        if settled is not None:
            return settled
        rejection = Rejection(*self._connection.execute(_READ, (row_id,)).fetchone())
        decided = decide_retry(
            rejection,
            state=state,
            rates=self._rate_card.rates,
            estimates=self._estimates,
            archived_before_ms=state.archived_before_ms,
        )
        if isinstance(decided, AlreadyCharged):
            return _left(row_id, "already_charged", decided.detail)
        if isinstance(decided, Unchargeable):
            return _left(row_id, str(decided.reason), decided.detail)
        return self._charge(row_id, decided, now=now)

    def _charge(self, row_id: int, retried: Retried, *, now: str) -> Json:
        charge, left, begun = retried
        begin_estimates(self._connection, begun, now=now)
        self._begun += begun
        usage_id = self._usage.append([charge])
        write_shared(self._connection, [charge], now=now)
        account, deduction = charge.batch.account_id, charge.deduction
        write_balances(self._connection, {account: left}, now=now)
        before = left.total + deduction.topup + deduction.tokens
        crossed = crossing(account, before=before, left=left)
        write_crossings(self._connection, [crossed] if crossed else [], now=now)
        self._connection.execute(_MARK, (now, usage_id, row_id))
        return {
            "id": row_id,
            "outcome": "charged",
            "detail": "",
            "usage_id": usage_id,
            "account_id": account,
            "topup_deducted": deduction.topup,
            "token_deducted": deduction.tokens,
        }


# --- helpers -------------------------------------------------------------------------------------


def _left(row_id: int, outcome: str, detail: str) -> Json:
    return {"id": row_id, "outcome": outcome, "detail": detail, "usage_id": None}


def _summary(row: RejectedUsage) -> Json:
    fields = _fields(bytes(row.payload)) or {}
    return {
        "id": row.id,
        "received_at": row.received_at,
        "reason": row.reason,
        "detail": row.detail,
        "account_id": _name(fields, "account_id"),
        "session_id": _name(fields, "session_id"),
        "producer": None if row.producer is None else bytes(row.producer).hex(),
        "sequence": row.sequence,
        "retried_at": row.retried_at,
        "usage_id": row.usage_id,
        "dismissed_at": row.dismissed_at,
        "dismissed_reason": row.dismissed_reason,
    }


def _name(fields: Json, name: str) -> str | None:
    value = fields.get(name)
    return value if isinstance(value, str) and len(value) <= ID_CHARS_MAX else None


def _fields(payload: bytes) -> Json | None:
    """What can be read of a payload, in values that JSON knows; None when it is no map."""
    try:
        body = msgpack.unpackb(payload, strict_map_key=False)
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException):
        return None
    return {str(k): _plain(v, _DEPTH_MAX) for k, v in body.items()} if type(body) is dict else None


def _plain(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if depth == 0:
        return "…"
    if isinstance(value, dict):
        return {str(k): _plain(v, depth - 1) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v, depth - 1) for v in value]
    return repr(value)  # a float (NaN is none of JSON's), an extension type
