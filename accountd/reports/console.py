"""What a key's owner may see of the own account: reports for the console. They only read.

Every request names the hash of a key, and is answered about that key's account and no other. An
account that is disabled or has no credit may look; a key that is unknown, revoked or expired may
not. The answers have bounds, because a gateway reads them beside the voice: what does not fit says
so, and a shorter period or the next page has it.
"""

from typing import Final

from accountd.accounts.accounts import account_json, find_account, key_json, live_key
from accountd.data import models
from accountd.data.models import Account, ApiKey, UsageMetric
from accountd.reports import statements
from accountd.reports.queries import count_keys, in_period, newest_keys, newest_rows
from accountd.reports.statements import period_of
from accountd.requests import Json, Params
from accountd.rpc_types import GroupBy
from shared.usage import USAGE_FIELDS

# A page of rows: about 100 kB, a millisecond of a gateway's time.
ROWS_MAX: Final = 200
ROWS_DEFAULT: Final = 50
# More than the days of a year, and than models or kinds there are; sessions are the newest ones.
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
    """The account as it stands."""
    shown = account_json(_owner(params))
    return {name: shown[name] for name in _ACCOUNT}


def keys(params: Params) -> Json:
    """The account's keys, newest first; neither keys nor hashes. ``is_own``: the one that asks."""
    owner = _owner(params)
    own = params.text("key_hash")
    with models.database.atomic():  # one snapshot for both questions
        newest = list(newest_keys(owner, limit=KEYS_MAX))
        total = count_keys(owner)
    return {
        "keys": [{**_shown(key), "is_own": key.key_hash == own} for key in newest],
        "total": total,
        "truncated": len(newest) < total,
    }


def usage(params: Params) -> Json:
    """The statement of a period, with what was charged in groups.

    Of more than ``GROUPS_MAX`` groups it has those with the newest charges, and ``has_more`` says
    so; of more than ``GRANTS_MAX`` grants the newest, of ``grants_total``. The sums are of all.
    """
    by, period = params.optional_choice("by", GroupBy) or GroupBy.DAY, period_of(params)
    with models.database.atomic():  # one snapshot for all the questions
        owner = _owner(params)
        balances = statements.balances(owner, period)
        newest = statements.newest_groups(owner, by, period, limit=GROUPS_MAX + 1)
        return {
            **balances,
            "grants": balances["grants"][-GRANTS_MAX:],
            "grants_total": len(balances["grants"]),
            "by": str(by),
            "groups": newest[:GROUPS_MAX],
            "has_more": len(newest) > GROUPS_MAX,
            "totals": statements.totals(owner, period),
        }


def rows(params: Params) -> Json:
    """The rows of a period, newest first, from below the id ``before`` on.

    ``next_before`` asks for the rows after these; it is None when there are none.
    """
    limit = params.optional_integer("limit", 1, ROWS_MAX) or ROWS_DEFAULT
    before = params.optional_integer("before", 1, ROW_IDS_MAX)
    period = period_of(params)
    with models.database.atomic():
        wanted = in_period(_owner(params), period)
        if before is not None:
            wanted &= UsageMetric.id < before
        found = list(newest_rows(wanted, limit=limit + 1))
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
    """The original system's rows have no numbers where ours have 0."""
    shown = {name: getattr(row, name) for name in _ROW}
    return {name: 0 if value is None else value for name, value in shown.items()}
