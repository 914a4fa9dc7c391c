"""Reports on accounts, keys and usage, which may take long. They run on the reader thread, with a
connection of their own.

Each report reads one consistent snapshot and never blocks the writer (WAL).
"""

import json
from collections.abc import Iterable
from typing import Any, Final

from peewee import Case, fn

from accountd.accounts.accounts import account_json, find_account, key_json
from accountd.data import models
from accountd.data.models import Account, ApiKey, UsageMetric, in_sql
from accountd.reports import statements
from accountd.reports.statements import Period, period_of
from accountd.request_params import Json, Params, RequestError
from accountd.rpc_types import GroupBy
from shared.usage import ESTIMATES, USAGE_FIELDS, Kind

ROWS_MAX: Final = 1_000
ROW_IDS_MAX: Final = 2**63 - 1

_IS_ESTIMATE: Final = UsageMetric.kind.in_(ESTIMATES)
# The kinds are constants in the text: SQLite uses the partial index of estimates only for a query
# whose WHERE has the same term, which rules parameters out.
_ESTIMATES: Final = f"""
    SELECT count(*), coalesce(sum(total_tokens), 0), coalesce(sum(waived), 0) FROM usage_metrics
    WHERE account_id = ? AND created_at >= ? AND created_at < ? AND kind IN {in_sql(ESTIMATES)}
"""  # noqa: S608 - constants only


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
    mine = in_period(find_account(params.text("account_id")), period_of(params))
    return _page(mine & (UsageMetric.id < before), limit)


def _page(wanted: Any, limit: int) -> Json:
    """``next_before`` is the value of ``before`` for the next page, None when there is none."""
    found = list(newest_rows(wanted, limit=limit + 1))
    shown = found[:limit]
    return {
        "rows": [_usage_json(row) for row in shown],
        "next_before": shown[-1].id if len(found) > limit else None,
    }


def _groups(account: Account, period: Period, by: GroupBy) -> Json:
    found = statements.groups(account, by, period)
    return {"by": str(by), "groups": found, "totals": statements.total_of(found)}


def _rows(account: Account, period: Period, limit: int) -> Json:
    mine = in_period(account, period)
    takes_nothing = (UsageMetric.topup_deducted == 0) & (UsageMetric.token_deducted == 0)
    charged = UsageMetric.select().where(mine & ~(_IS_ESTIMATE & takes_nothing))
    summed = ("topup_deducted", "token_deducted", "credits", *USAGE_FIELDS)
    is_response = UsageMetric.kind.in_((Kind.RESPONSE, Kind.ESTIMATE))
    totals: Any = (
        charged.select(
            fn.SUM(Case(None, [(is_response, UsageMetric.responses)], 0)),
            *(fn.SUM(getattr(UsageMetric, name)) for name in summed),
        )
        .tuples()
        .get()
    )
    named = {name: total or 0 for name, total in zip(("responses", *summed), totals, strict=True)}
    return {
        **_page(mine, limit),
        "rows_total": UsageMetric.select().where(mine).count(),
        "totals": statements.with_credits(named),
    }


def _estimates(account: Account, period: Period) -> Json:
    """The estimates, charged or not; ``waived`` are the credits that were not charged for them."""
    asked = (account.id, period.low, period.high)
    rows, tokens, waived = models.database.execute_sql(_ESTIMATES, asked).fetchone()
    return {"rows": rows, "total_tokens": tokens, "waived": waived}


def _unpriced(account: Account, period: Period) -> list[Json]:
    """Usage without a price, by model. A partial index finds these rows."""
    columns = (UsageMetric.provider, UsageMetric.model, UsageMetric.unpriced)
    found: Any = (
        UsageMetric.select(*columns, fn.COUNT())
        .where(in_period(account, period) & (UsageMetric.unpriced != ""))
        .group_by(*columns)
        .order_by(*columns)
        .tuples()
    )
    names = ("provider", "model", "units", "rows")
    return [dict(zip(names, row, strict=True)) for row in found]


def newest_keys(account: Account, *, limit: int) -> Iterable[ApiKey]:
    """The account's keys, newest first."""
    keys = ApiKey.select().where(ApiKey.account_id == account.id)
    found: Iterable[ApiKey] = keys.order_by(ApiKey.created_at.desc()).limit(limit)
    return found


def count_keys(account: Account) -> int:
    """The number of the account's keys, revoked ones included."""
    count: int = ApiKey.select().where(ApiKey.account_id == account.id).count()
    return count


def newest_rows(wanted: Any, *, limit: int) -> Iterable[UsageMetric]:
    """The usage rows for which ``wanted`` is true, newest first.

    Reads their ids first, from an index: sorting the whole rows of a large account takes seconds.
    """
    ids = UsageMetric.select(UsageMetric.id).where(wanted).order_by(UsageMetric.id.desc())
    rows = UsageMetric.select().where(UsageMetric.id.in_(ids.limit(limit)))
    found: Iterable[UsageMetric] = rows.order_by(UsageMetric.id.desc())
    return found


def in_period(account: Account, period: Period) -> Any:
    """The condition for the account's rows in the period.

    It has no term for an open end: without any, SQLite reads the rows in the order in which they
    are stored, which takes a third of the time.
    """
    found = UsageMetric.account_id == account.id
    if period.since:
        found &= UsageMetric.created_at >= period.low
    if period.until:
        found &= UsageMetric.created_at < period.high
    return found


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
    return {**shown, **{name: getattr(row, name) or 0 for name in USAGE_FIELDS}}
