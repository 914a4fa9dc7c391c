"""Which conversations are stored, and what one says: for operators."""

import json
from typing import Any, Final

from accountd.data.models import database
from accountd.reports.queries import ROWS_MAX
from accountd.request_params import Params, RequestError

# A row of the original system has no ``updated_at``.
_LIST: Final = (
    "SELECT account_id, session_id, min(created_at) AS created_at, max(updated_at) AS updated_at,"
    " sum(length(CAST(data AS BLOB))) AS bytes FROM sessions"
    " WHERE ? IS NULL OR account_id = ? GROUP BY account_id, session_id"
    " ORDER BY updated_at DESC, created_at DESC LIMIT ?"
)
_COUNT: Final = (
    "SELECT count(*) FROM (SELECT DISTINCT account_id, session_id FROM sessions"
    " WHERE ? IS NULL OR account_id = ?)"
)
_SHOW: Final = (
    "SELECT type, data, created_at, updated_at FROM sessions"
    " WHERE account_id = ? AND session_id = ?"
)
_COLUMNS: Final = ("account_id", "session_id", "created_at", "updated_at", "bytes")
Json = dict[str, Any]


def list_conversations(params: Params) -> Json:
    """The stored conversations, those used last first, at most ``limit``; not what they say."""
    account_id = params.optional_text("account_id")
    limit = params.optional_integer("limit", 1, ROWS_MAX) or ROWS_MAX
    rows = database.execute_sql(_LIST, (account_id, account_id, limit)).fetchall()
    (total,) = database.execute_sql(_COUNT, (account_id, account_id)).fetchone()
    return {"sessions": [dict(zip(_COLUMNS, row, strict=True)) for row in rows], "total": total}


def show_conversation(params: Params) -> Json:
    """One conversation with what was said in it."""
    key = params.text("account_id"), params.text("session_id")
    rows = database.execute_sql(_SHOW, key).fetchall()
    if not rows:
        raise RequestError(
            "not_found", f"no stored conversation {key[1]!r}; accountctl sessions list shows all"
        )
    found = {kind: _value(data) for kind, data, _, _ in rows}
    return {
        "account_id": key[0],
        "session_id": key[1],
        "created_at": min(row[2] for row in rows),
        "updated_at": max((row[3] for row in rows if row[3] is not None), default=None),
        "configuration": found.get("SESSION"),
        "items": found.get("CONV"),
    }


def _value(text: str) -> Any:
    """The value of stored JSON; a text that is none as it is, and None where there is nothing."""
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return text
