"""Reports on accounts, keys and usage, which may take long. They run on the reader thread, with a
connection of their own.

Each report is of one consistent state and never blocks the writer (WAL); a long one reads many
short snapshots (``accountd.data.snapshots``).
"""

import json
import math
import operator
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Final

from accountd.accounts.accounts import account_json, find_account, find_key, key_json
from accountd.data import models
from accountd.data.models import Account, ApiKey, UsageMetric, in_sql
from accountd.data.snapshots import in_snapshot
from accountd.ledger.response_ids import unpack
from accountd.reports import statements
from accountd.reports.account_usage import (
    IS_CHARGED,
    RESPONSES,
    Sums,
    asked,
    gather,
    newest_rows,
    read,
)
from accountd.reports.period import Period, period_of
from accountd.request_params import Json, Params, RequestError
from accountd.rpc_types import GroupBy
from shared.usage import ESTIMATES, USAGE_FIELDS

ROWS_MAX: Final = 1_000
PAGES_MAX: Final = 2**31  # of one account each: far more than a database holds
ROW_IDS_MAX: Final = 2**63 - 1

_SUMS: Final = ", ".join(f"sum(u.{name})" for name in USAGE_FIELDS)
_TOTALS: Final = f"""
    SELECT 0, 0, sum({RESPONSES}), sum(u.topup_deducted), sum(u.token_deducted), {_SUMS}
    FROM {{full_rows}} u JOIN usage_labels k ON k.number = u.label
    WHERE {IS_CHARGED} GROUP BY 1
"""  # noqa: S608 - constants only
_COUNT: Final = "SELECT u.id = 0, 0, sum(u.rows) FROM {rows} u GROUP BY 1"
_KEPT, _ARCHIVED = 0, 1  # the keys of ``_COUNT``
# Two conditions that SQLite has an index of, which holds the estimates alone.
_SPENT_BY_DAY: Final = """
    SELECT date(s.day * 86400, 'unixepoch'), s.credits
    FROM key_spending s JOIN usage_keys k ON k.number = s.key
    WHERE k.key_hash = ? ORDER BY s.day DESC
"""
_ESTIMATES: Final = f"""
    SELECT coalesce(sum(rows), 0), coalesce(sum(total_tokens), 0), coalesce(sum(waived), 0)
    FROM (
        SELECT 1 AS rows, total_tokens, waived FROM usage
        WHERE account = (SELECT number FROM usage_accounts WHERE account_id = :account)
          AND metered_at >= :low AND metered_at < :high AND is_estimate = 1
        UNION ALL
        SELECT s.rows, s.total_tokens, s.waived
        FROM usage_summaries s JOIN usage_labels k ON k.number = s.label
        WHERE s.account = (SELECT number FROM usage_accounts WHERE account_id = :account)
          AND s.metered_at >= :low AND s.metered_at < :high AND k.kind IN {in_sql(ESTIMATES)}
    )
"""  # noqa: S608 - constants only
_UNPRICED: Final = """
    SELECT u.label, 0, sum(u.rows) FROM {rows} u JOIN usage_labels k ON k.number = u.label
    WHERE k.unpriced <> '' GROUP BY 1
"""
_ALWAYS: Final = {"rows": _COUNT, "unpriced": _UNPRICED}
_OF_ROWS: Final = {**statements.MOVEMENTS, "totals": _TOTALS}
_LABEL: Final = "SELECT provider, model, unpriced FROM usage_labels WHERE number = ?"


def list_accounts(params: Params) -> Json:
    """A page of the accounts, oldest first, of at most ``limit``.

    ``search`` leaves those whose id or address contains it; ASCII letters count in any case.
    Deleted accounts are there with ``all``.
    """
    limit = params.optional_integer("limit", 1, ROWS_MAX) or ROWS_MAX
    page = params.optional_integer("page", 1, PAGES_MAX) or 1
    search = params.optional_text("search")
    wanted = Account.select()
    if not params.flag("all"):
        wanted = wanted.where(Account.deleted_at.is_null())
    if search is not None:
        fields = (Account.id, Account.email, Account.deleted_email)
        contained = (field.contains(search) for field in fields)
        wanted = wanted.where(reduce(operator.or_, contained))

    def answer() -> Json:
        total = wanted.count()
        pages = max(1, math.ceil(total / limit))
        if page > pages:
            message = f"page: found {page}, expected 1 to {pages}: there are {total} accounts"
            raise RequestError("bad_request", message)
        rows = wanted.order_by(Account.created_at, Account.id).paginate(page, limit)
        shown = [account_json(row) for row in rows]
        return {"accounts": shown, "total": total, "page": page, "pages": pages}

    return in_snapshot(answer)


def key_spending(params: Params) -> Json:
    """What a key has spent by day, newest first: usage of sessions that began under a cap."""
    limit = params.optional_integer("limit", 1, ROWS_MAX) or ROWS_MAX
    key = find_key(params)
    rows = models.database.execute_sql(_SPENT_BY_DAY, (key.key_hash,)).fetchall()
    return {
        "key_indicator": key.key_indicator,
        "account_id": key.account_id,
        "days": [{"day": day, "credits": spent} for day, spent in rows[:limit]],
        "total": len(rows),
    }


def list_keys(params: Params) -> Json:
    """The keys of an account, newest first."""
    account = find_account(params.text("account_id"))
    return {
        "keys": [key_json(key) for key in newest_keys(account, limit=ROWS_MAX)],
        "total": count_keys(account),
    }


def usage(params: Params) -> Json:
    """The statement of an account in a period, with its charges and their sums.

    With ``by`` the charges are grouped, else they are rows, newest first. An estimate that was not
    charged is a row, but it is not in the sums. Their ``responses`` leave out transcriptions and
    durations. ``archived_rows`` are rows of the period that are in an archive: the sums have them,
    and their sessions are one group.
    """
    by, limit = params.optional_choice("by", GroupBy), params.optional_integer("limit", 1, ROWS_MAX)
    if by is not None and limit is not None:
        raise RequestError("bad_request", "limit: it goes with rows; groups are complete")
    period = period_of(params)
    account_id = find_account(params.text("account_id")).id
    asked_for = _OF_ROWS if by is None else statements.wanted(by)

    def answer(found: Mapping[str, Sums]) -> Json:
        account = find_account(account_id)
        return {
            "account_id": account.id,
            **statements.balances(account, period, found),
            **(_rows(account, period, limit or ROWS_MAX, found) if by is None else {}),
            **(_groups(found, by) if by is not None else {}),
            "estimates": _estimates(account, period),
            "unpriced": _unpriced(found),
            "archived_rows": found["rows"].get(_ARCHIVED, [0, 0])[1],
        }

    return gather(account_id, period, {**asked_for, **_ALWAYS}, answer)


def usage_rows(params: Params) -> Json:
    """The rows of a period with ids below ``before``, newest first, at most ``limit``."""
    limit = params.optional_integer("limit", 1, ROWS_MAX) or ROWS_MAX
    before = params.integer("before", 1, ROW_IDS_MAX)
    account = find_account(params.text("account_id"))
    return _page(account, period_of(params), before=before, limit=limit)


def _page(account: Account, period: Period, *, before: int | None, limit: int) -> Json:
    """``next_before`` is the value of ``before`` for the next page, None when there is none."""
    found = newest_rows(account, period, before=before, limit=limit + 1)
    shown = found[:limit]
    return {
        "rows": [_usage_json(row) for row in shown],
        "next_before": shown[-1].id if len(found) > limit else None,
    }


def _groups(found: Mapping[str, Sums], by: GroupBy) -> Json:
    groups = statements.groups(found, by)
    return {"by": str(by), "groups": groups, "totals": statements.total_of(groups)}


def _rows(account: Account, period: Period, limit: int, found: Mapping[str, Sums]) -> Json:
    names = ("responses", "topup_deducted", "token_deducted", *USAGE_FIELDS)
    (_, *totals) = found["totals"].get(0, [0] * (1 + len(names)))
    (_, rows) = found["rows"].get(_KEPT, [0, 0])
    return {
        **_page(account, period, before=None, limit=limit),
        "rows_total": rows,
        "totals": statements.with_credits(dict(zip(names, totals, strict=True))),
    }


def _estimates(account: Account, period: Period) -> Json:
    """The estimates, charged or not; ``waived`` are the credits that were not charged for them."""
    ((rows, tokens, waived),) = read(_ESTIMATES, asked(account.id, period))
    return {"rows": rows, "total_tokens": tokens, "waived": waived}


def _unpriced(found: Mapping[str, Sums]) -> list[Json]:
    """Usage without a price, by model."""
    names = ("provider", "model", "units")
    rows: defaultdict[tuple[str, ...], int] = defaultdict(int)
    for label, (_, count) in found["unpriced"].items():
        (name,) = models.database.execute_sql(_LABEL, (label,)).fetchall()
        rows[name] += count
    return [
        {**dict(zip(names, name, strict=True)), "rows": count}
        for name, count in sorted(rows.items())
    ]


def newest_keys(account: Account, *, limit: int) -> Iterable[ApiKey]:
    """The account's keys, newest first."""
    keys = ApiKey.select().where(ApiKey.account_id == account.id)
    found: Iterable[ApiKey] = keys.order_by(ApiKey.created_at.desc()).limit(limit)
    return found


def count_keys(account: Account) -> int:
    """The number of the account's keys, revoked ones included."""
    count: int = ApiKey.select().where(ApiKey.account_id == account.id).count()
    return count


def _usage_json(row: UsageMetric) -> Json:
    shown: Json = {
        "id": row.id,
        "created_at": row.created_at,
        "session_id": row.session_id,
        "provider": row.provider,
        "model": row.model,
        "kind": row.kind,
        "responses": row.responses,
        "response_ids": unpack(row.response_ids),
        "raw_usage": json.loads(row.raw_usage),
        "topup_deducted": row.topup_deducted,
        "token_deducted": row.token_deducted,
        "credits": row.credits,
        "rate_card": row.rate_card,
        "unpriced": row.unpriced,
        "waived": row.waived,
        "producer": bytes(row.producer).hex() if row.producer else None,
        "sequence": row.sequence,
    }
    return {**shown, **{name: getattr(row, name) for name in USAGE_FIELDS}}
