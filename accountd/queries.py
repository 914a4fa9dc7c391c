"""Reports: reads that may take long. They run on the reader thread, on a connection of its own.

Each report sees one consistent snapshot and never holds the writer up (WAL).
"""

import json
from typing import Any, Final

from peewee import fn

from accountd import models
from accountd.accounts import Json, account_json, find_account, key_json
from accountd.ingest import ProducerWindow
from accountd.models import Account, ApiKey, AppliedAhead, Producer, RejectedUsage, UsageMetric
from accountd.requests import Params
from shared.wire import USAGE_FIELDS

ROWS_MAX: Final = 1_000
_SHOWN_MAX: Final = 20  # missing sequences of a producer, drifting accounts

# D9: for every account, balance = sum of grants - sum of deductions, in both buckets.
_DRIFT: Final = """
    SELECT a.id, a.topup_remaining, a.token_remaining,
           coalesce(g.topup, 0) - coalesce(u.topup, 0) AS topup_expected,
           coalesce(g.token, 0) - coalesce(u.token, 0) AS token_expected
    FROM accounts a
    LEFT JOIN (SELECT account_id, sum(topup_delta) AS topup, sum(token_delta) AS token
               FROM credit_grants GROUP BY account_id) g ON g.account_id = a.id
    LEFT JOIN (SELECT account_id, sum(topup_deducted) AS topup, sum(token_deducted) AS token
               FROM usage_metrics GROUP BY account_id) u ON u.account_id = a.id
    WHERE a.topup_remaining <> topup_expected OR a.token_remaining <> token_expected
    ORDER BY a.id
"""

_DRIFT_COLUMNS: Final = (
    "account_id", "topup_found", "token_found", "topup_expected", "token_expected",
)  # fmt: skip


def show_account(params: Params) -> Json:
    """One account."""
    return account_json(find_account(params.text("account_id")))


def list_accounts(params: Params) -> Json:
    """The accounts, oldest first, at most ``limit``."""
    limit = params.optional_integer("limit", 1, ROWS_MAX) or ROWS_MAX
    rows = Account.select().order_by(Account.created_at, Account.id).limit(limit)
    return {"accounts": [account_json(row) for row in rows], "total": Account.select().count()}


def list_keys(params: Params) -> Json:
    """The keys of an account, newest first."""
    account = find_account(params.text("account_id"))
    rows = (
        ApiKey.select()
        .where(ApiKey.account_id == account.id)
        .order_by(ApiKey.created_at.desc())
        .limit(ROWS_MAX)
    )
    return {"keys": [key_json(row) for row in rows]}


def usage(params: Params) -> Json:
    """The charged rows of an account, newest first, and the totals over *all* of its rows."""
    account = find_account(params.text("account_id"))
    limit = params.optional_integer("limit", 1, ROWS_MAX) or ROWS_MAX
    mine = UsageMetric.account_id == account.id
    rows = UsageMetric.select().where(mine).order_by(UsageMetric.id.desc()).limit(limit)
    summed = ("responses", "topup_deducted", "token_deducted", *USAGE_FIELDS)
    sums = UsageMetric.select(*(fn.SUM(getattr(UsageMetric, name)) for name in summed)).where(mine)
    totals: Any = sums.tuples().get()
    return {
        "account_id": account.id,
        "rows": [_usage_json(row) for row in rows],
        "totals": {name: total or 0 for name, total in zip(summed, totals, strict=True)},
    }


def _usage_json(row: UsageMetric) -> Json:
    shown: Json = {
        "id": row.id,
        "created_at": row.created_at,
        "session_id": row.session_id,
        "provider": row.provider,
        "model": row.model,
        "kind": row.kind,
        "responses": row.responses,
        "response_ids": json.loads(row.response_ids),
        "topup_deducted": row.topup_deducted,
        "token_deducted": row.token_deducted,
        "producer": bytes(row.producer).hex() if row.producer else None,
        "sequence": row.sequence,
    }
    return {**shown, **{name: getattr(row, name) or 0 for name in USAGE_FIELDS}}


def audit(_params: Params) -> Json:
    """Prove the ledger: every balance, and every producer's batches without a hole."""
    with models.database.atomic():  # one snapshot for all the questions
        drift = [dict(zip(_DRIFT_COLUMNS, row, strict=True)) for row in _drifting()]
        producers = _audit_producers()
        counts = {
            "accounts": Account.select().count(),
            "usage_rows": UsageMetric.select().count(),
            "rejected": RejectedUsage.select().count(),
        }
    is_ok = not drift and not producers["incomplete"]
    return {"ok": is_ok, **counts, "drift": drift[:_SHOWN_MAX], "producers": producers}


def _drifting() -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = models.database.execute_sql(_DRIFT).fetchall()
    return found


def _audit_producers() -> Json:
    ahead: dict[bytes, list[int]] = {}
    for beyond in AppliedAhead.select():
        ahead.setdefault(bytes(beyond.producer), []).append(beyond.sequence)
    incomplete: list[dict[str, Any]] = []
    for row in Producer.select().where(Producer.producer.in_(list(ahead))) if ahead else ():
        window = ProducerWindow(row.applied_through, ahead[bytes(row.producer)])
        incomplete.append(
            {
                "producer": bytes(row.producer).hex(),
                "applied_through": row.applied_through,
                "missing": window.missing(at_most=_SHOWN_MAX),
            }
        )
    return {"total": Producer.select().count(), "incomplete": incomplete}
