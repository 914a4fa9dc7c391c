"""The sessions of an account that were charged, a page at a time. Runs on the reader.

A page begins below a cursor, the row with which the page before it ended, so what is charged
meanwhile moves nothing. A session stands where its newest row does.
"""

import json
from typing import Final

from accountd import models
from accountd.accounts import Json
from accountd.models import Account
from accountd.requests import Params
from accountd.statements import IS_CHARGED, SUMS, with_credits
from accountd.terms import SUMMED

PAGE_MAX: Final = 100
_ROW_ID_MAX: Final = 2**63 - 1

_NEWEST: Final = f"""
    SELECT session_id, max(id) FROM usage_metrics WHERE account_id = ? AND {IS_CHARGED}
    GROUP BY session_id HAVING max(id) < ? ORDER BY 2 DESC LIMIT ?
"""  # noqa: S608 - constants only
_SESSION: Final = f"""
    SELECT min(created_at), max(created_at), min(provider),
           json_group_array(DISTINCT model) FILTER (WHERE model <> ''), {SUMS}
    FROM usage_metrics WHERE account_id = ? AND session_id = ? AND {IS_CHARGED}
"""  # noqa: S608 - constants only
_COLUMNS: Final = ("first_at", "last_at", "provider", "models", *SUMMED)


def sessions(account: Account, params: Params) -> Json:
    """At most ``limit`` sessions below row ``before``, newest first; ``next`` is where the page
    below them begins, or None.
    """
    limit = params.optional_integer("limit", 1, PAGE_MAX) or PAGE_MAX
    before = params.optional_integer("before", 1, _ROW_ID_MAX) or _ROW_ID_MAX
    with models.database.atomic():  # one snapshot for all the questions
        # One more than the page holds says whether there is another page.
        newest = models.database.execute_sql(_NEWEST, (account.id, before, limit + 1)).fetchall()
        page = [_session(account, session_id) for session_id, _ in newest[:limit]]
    return {"sessions": page, "next": newest[limit - 1][1] if len(newest) > limit else None}


def _session(account: Account, session_id: str) -> Json:
    row = models.database.execute_sql(_SESSION, (account.id, session_id)).fetchone()
    found = dict(zip(_COLUMNS, row, strict=True))
    named = {"session_id": session_id, **found, "models": json.loads(found["models"])}
    return with_credits(named)
