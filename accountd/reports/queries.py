"""Reports on accounts, keys and usage, which may take long. They run on the reader thread, with a
connection of their own.

Each report reads one consistent snapshot and never blocks the writer (WAL).
"""

import json
import math
import operator
from collections.abc import Iterable
from functools import reduce
from typing import Final

from accountd.accounts.accounts import account_json, find_account, find_key, key_json
from accountd.data import models
from accountd.data.models import Account, ApiKey, UsageMetric
from accountd.ledger.response_ids import unpack
from accountd.reports import statements
from accountd.reports.account_usage import (
    IS_CHARGED,
    MINE,
    RESPONSES,
    asked,
    count_rows,
    newest_rows,
    read,
)
from accountd.reports.period import Period, period_of
from accountd.request_params import Json, Params, RequestError
from accountd.rpc_types import GroupBy
from shared.usage import USAGE_FIELDS

ROWS_MAX: Final = 1_000
PAGES_MAX: Final = 2**31  # of one account each: far more than a database holds
ROW_IDS_MAX: Final = 2**63 - 1

_SUMS: Final = ", ".join(f"coalesce(sum(r.{name}), 0)" for name in USAGE_FIELDS)
_TOTALS: Final = f"""
    SELECT coalesce(sum({RESPONSES}), 0),
           coalesce(sum(r.topup_deducted), 0), coalesce(sum(r.token_deducted), 0), {_SUMS}
    FROM usage_by_account u JOIN usage r ON r.id = u.id JOIN usage_labels k ON k.number = u.label
    WHERE {MINE} AND {IS_CHARGED}
"""  # noqa: S608 - constants only
# Two conditions that SQLite has an index of, which holds the estimates alone.
_SPENT_BY_DAY: Final = """
    SELECT date(s.day * 86400, 'unixepoch'), s.credits
    FROM key_spending s JOIN usage_keys k ON k.number = s.key
    WHERE k.key_hash = ? ORDER BY s.day DESC
"""
_ESTIMATES: Final = """
    SELECT count(*), coalesce(sum(total_tokens), 0), coalesce(sum(waived), 0) FROM usage
    WHERE account = (SELECT number FROM usage_accounts WHERE account_id = :account)
      AND metered_at >= :low AND metered_at < :high AND is_estimate = 1
"""
_UNPRICED: Final = f"""
    SELECT k.provider, k.model, k.unpriced, count(*)
    FROM usage_by_account u JOIN usage_labels k ON k.number = u.label
    WHERE {MINE} AND k.unpriced <> ''
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""  # noqa: S608 - constants only


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
    with models.database.atomic():  # one snapshot for both queries
        total = wanted.count()
        pages = max(1, math.ceil(total / limit))
        if page > pages:
            message = f"page: found {page}, expected 1 to {pages}: there are {total} accounts"
            raise RequestError("bad_request", message)
        rows = wanted.order_by(Account.created_at, Account.id).paginate(page, limit)
        shown = [account_json(row) for row in rows]
    return {"accounts": shown, "total": total, "page": page, "pages": pages}


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
    durations.
    """
    by, limit = params.optional_choice("by", GroupBy), params.optional_integer("limit", 1, ROWS_MAX)
    if by is not None and limit is not None:
        raise RequestError("bad_request", "limit: it goes with rows; groups are complete")
    period = period_of(params)
    with models.database.atomic():  # one snapshot for all queries
        account = find_account(params.text("account_id"))
        return {
            "account_id": account.id,
            **statements.balances(account, period),
            **(_rows(account, period, limit or ROWS_MAX) if by is None else {}),
            **(_groups(account, period, by) if by is not None else {}),
            "estimates": _estimates(account, period),
            "unpriced": _unpriced(account, period),
        }


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


def _groups(account: Account, period: Period, by: GroupBy) -> Json:
    found = statements.groups(account, by, period)
    return {"by": str(by), "groups": found, "totals": statements.total_of(found)}


def _rows(account: Account, period: Period, limit: int) -> Json:
    (totals,) = read(_TOTALS, asked(account, period))
    names = ("responses", "topup_deducted", "token_deducted", *USAGE_FIELDS)
    return {
        **_page(account, period, before=None, limit=limit),
        "rows_total": count_rows(account, period),
        "totals": statements.with_credits(dict(zip(names, totals, strict=True))),
    }


def _estimates(account: Account, period: Period) -> Json:
    """The estimates, charged or not; ``waived`` are the credits that were not charged for them."""
    ((rows, tokens, waived),) = read(_ESTIMATES, asked(account, period))
    return {"rows": rows, "total_tokens": tokens, "waived": waived}


def _unpriced(account: Account, period: Period) -> list[Json]:
    """Usage without a price, by model."""
    names = ("provider", "model", "units", "rows")
    return [dict(zip(names, row, strict=True)) for row in read(_UNPRICED, asked(account, period))]


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
