"""Reports about one account for the console, which the owner of a key uses. They only read.

Every request names the hash of a key, and the answer is about that key's account only. A disabled
account or one without credit may read; an unknown, revoked or expired key is refused. The answers
are bounded, because a gateway decodes them in the event loop that forwards voice. A longer list is
marked as cut (``has_more``, ``truncated``); a shorter period or the next page has the rest.
"""

from collections.abc import Mapping
from typing import Final

from accountd.accounts.accounts import account_json, find_account, key_json
from accountd.accounts.authorizations import live_key
from accountd.data.models import Account, ApiKey, UsageMetric
from accountd.data.snapshots import in_snapshot
from accountd.reports import statements
from accountd.reports.account_usage import Sums, gather, newest_rows
from accountd.reports.period import period_of
from accountd.reports.queries import count_keys, newest_keys
from accountd.request_params import Json, Params
from accountd.rpc_types import GroupBy
from shared.usage import USAGE_FIELDS

# A page of rows: about 100 kB, a millisecond of a gateway's time.
ROWS_MAX: Final = 200
ROWS_DEFAULT: Final = 50
# More than the days of a year, the models or the kinds. Of more sessions the newest are returned.
GROUPS_MAX: Final = 400
GRANTS_MAX: Final = 100
KEYS_MAX: Final = 200
ROW_IDS_MAX: Final = 2**63 - 1

_ACCOUNT: Final = (
    "id", "email", "plan_name", "token_remaining", "topup_remaining", "status",
)  # fmt: skip
_KEY: Final = (
    "key_indicator", "label", "created_at", "last_used_at", "expires_at", "revoked_at",
)  # fmt: skip
_ROW: Final = (
    "id", "created_at", "session_id", "provider", "model", "kind", "responses",
    "topup_deducted", "token_deducted", "credits", *USAGE_FIELDS,
)  # fmt: skip


def account(params: Params) -> Json:
    """The account with its balances and status."""
    shown = account_json(_owner(params))
    return {name: shown[name] for name in _ACCOUNT}


def keys(params: Params) -> Json:
    """The account's keys, newest first, without the keys and their hashes.

    ``is_own`` marks the key of the request.
    """
    owner = _owner(params)
    own = params.text("key_hash")
    newest, total = in_snapshot(
        lambda: (list(newest_keys(owner, limit=KEYS_MAX)), count_keys(owner))
    )
    return {
        "keys": [{**_shown(key), "is_own": key.key_hash == own} for key in newest],
        "total": total,
        "truncated": len(newest) < total,
    }


def usage(params: Params) -> Json:
    """The statement of a period, with its charges in groups.

    Of more than ``GROUPS_MAX`` groups it has those with the newest charges, and ``has_more`` is
    true. Of more than ``GRANTS_MAX`` grants it has the newest; ``grants_total`` is their number.
    The sums cover all groups and grants.
    """
    by, period = params.optional_choice("by", GroupBy) or GroupBy.DAY, period_of(params)

    def answer(found: Mapping[str, Sums]) -> Json:
        owner = _owner(params)
        balances = statements.balances(owner, period, found)
        newest = statements.newest_groups(found, by, limit=GROUPS_MAX + 1)
        return {
            **balances,
            "grants": balances["grants"][-GRANTS_MAX:],
            "grants_total": len(balances["grants"]),
            "by": str(by),
            "groups": newest[:GROUPS_MAX],
            "has_more": len(newest) > GROUPS_MAX,
            "totals": statements.totals(found),
        }

    return gather(_owner(params).id, period, statements.wanted(by), answer)


def rows(params: Params) -> Json:
    """The rows of a period with ids below ``before``, newest first.

    ``next_before`` is the value of ``before`` for the next page, None when there is none.
    """
    limit = params.optional_integer("limit", 1, ROWS_MAX) or ROWS_DEFAULT
    before = params.optional_integer("before", 1, ROW_IDS_MAX)
    period = period_of(params)
    found = in_snapshot(lambda: newest_rows(_owner(params), period, before=before, limit=limit + 1))
    shown = found[:limit]
    has_more = len(found) > limit
    return {
        "columns": list(_ROW),
        "rows": [_row_json(row) for row in shown],
        "next_before": shown[-1].id if has_more else None,
    }


def _owner(params: Params) -> Account:
    return find_account(live_key(params.text("key_hash")).account_id)


def _shown(key: ApiKey) -> Json:
    shown = key_json(key)
    return {name: shown[name] for name in _KEY}


def _row_json(row: UsageMetric) -> Json:
    return {name: getattr(row, name) for name in _ROW}
