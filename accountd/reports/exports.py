"""Exports: usage rows of all accounts, or of some, in the order of their ids, page by page.

``begin`` says which row is the last one of an export. A row is there with its transaction or not at
all, ids rise with the commits and none is given twice, so pages of the rows up to that one are the
same whenever they are read, unless rows move to an archive (``archived_rows``). A page looks at
``_IDS_TOGETHER`` ids at most, whatever they hold: no report takes long, and others have their turn
between two pages.
"""

import json
from typing import Any, Final

from accountd.accounts.accounts import find_account
from accountd.data import models
from accountd.data.snapshots import in_snapshot
from accountd.ledger.response_ids import unpack
from accountd.reports.account_usage import read
from accountd.reports.period import period_of
from accountd.reports.queries import ROW_IDS_MAX
from accountd.request_params import Json, Params, RequestError
from shared.usage import USAGE_FIELDS

ACCOUNTS_MAX: Final = 1_000
ROWS_MAX: Final = 1_000
_IDS_TOGETHER: Final = 20_000  # 10 ms where none of them is asked for
# Of response ids and other units in a page: far below what an answer may hold.
_PAGE_CHARS_MAX: Final = 8 * 1024 * 1024

COLUMNS: Final = (
    "id", "created_at", "account_id", "session_id", "provider", "model", "kind", "responses",
    "topup_deducted", "token_deducted", "credits", "waived", "rate_card", "unpriced",
    "producer", "sequence", *USAGE_FIELDS, "response_ids", "raw_usage",
)  # fmt: skip
_PRODUCER: Final = COLUMNS.index("producer")
_LAST: Final = """
    SELECT max(coalesce((SELECT max(id) FROM usage), 0),
               coalesce((SELECT max(last_row) FROM usage_segments), 0))
"""
_LEDGER: Final = "SELECT database_id, history FROM custody"
_ARCHIVED: Final = "SELECT coalesce(sum(rows), 0) FROM archives"
_IDS: Final = """
    SELECT id FROM usage
    WHERE id > :after AND id <= :last AND metered_at >= :low AND metered_at < :high {mine}
    ORDER BY id LIMIT :limit
"""
_MINE: Final = """
    AND account IN (SELECT number FROM usage_accounts
                    WHERE account_id IN (SELECT value FROM json_each(:accounts)))
"""
_ROWS: Final = f"""
    SELECT {", ".join(COLUMNS)} FROM usage_metrics
    WHERE id IN (SELECT value FROM json_each(:ids)) ORDER BY id
"""  # noqa: S608 - constants only


def begin(params: Params) -> Json:
    """The last row that there is now, the id of the ledger and of the history of its rows, and how
    many rows are in archives.

    Raises ``RequestError`` for an account that there is not, and for a row ``after`` which to begin
    that was not given out yet.
    """
    for account_id in _accounts(params) or ():
        find_account(account_id)
    period_of(params)
    after = params.integer("after", 0, ROW_IDS_MAX)
    ((last,),), ((ledger, history),) = read(_LAST, {}), read(_LEDGER, {})
    if after > last:
        raise RequestError(
            "conflict",
            f"after: found row {after}, and the ledger's last is {last}: it was restored from an"
            " older copy, or is another one",
        )
    ((archived,),) = read(_ARCHIVED, {})
    return {"through": last, "ledger": ledger, "history": history, "archived_rows": archived}


def rows(params: Params) -> Json:
    """Rows after ``after`` up to ``through``, at most ``limit``; none of them is a page's end.

    ``next_after`` is ``after`` of the next page, None when there is none.
    """
    after = params.integer("after", 0, ROW_IDS_MAX)
    through = params.integer("through", 0, ROW_IDS_MAX)
    limit = params.optional_integer("limit", 1, ROWS_MAX) or ROWS_MAX
    accounts, period = _accounts(params), period_of(params)
    last = min(through, after + _IDS_TOGETHER)
    asked = {
        "after": after, "last": last, "low": period.low_ms, "high": period.high_ms, "limit": limit,
        **({"accounts": json.dumps(accounts)} if accounts is not None else {}),
    }  # fmt: skip

    def page() -> tuple[list[int], list[list[Any]]]:
        found = [n for (n,) in read(_IDS.format(mine=_MINE if accounts is not None else ""), asked)]
        return found, _shown(found)

    found, shown = in_snapshot(page)
    if shown and (len(shown) < len(found) or len(found) == limit):
        last = shown[-1][0]  # the page is full: what follows may be there as well
    return {
        "columns": COLUMNS,
        "rows": shown,
        "next_after": last if last < through else None,
    }


def _accounts(params: Params) -> list[str] | None:
    if not params.has("accounts"):
        return None
    names = params.texts("accounts", at_least=0, at_most=ACCOUNTS_MAX)
    return [Params({"account": name}).text("account") for name in names]


def _shown(ids: list[int]) -> list[list[Any]]:
    """The rows with these ids, as many as fit into a page, one at least."""
    found: list[list[Any]] = []
    chars = 0
    for row in models.database.execute_sql(_ROWS, {"ids": json.dumps(ids)}):
        chars += len(row[-2]) + len(row[-1])
        if found and chars > _PAGE_CHARS_MAX:
            break
        found.append(_as_json(row))
    return found


def _as_json(row: tuple[Any, ...]) -> list[Any]:
    *values, response_ids, raw_usage = row
    producer = values[_PRODUCER]
    values[_PRODUCER] = bytes(producer).hex() if producer else None
    return [*values, unpack(response_ids), json.loads(raw_usage)]
