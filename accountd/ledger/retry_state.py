"""What a retry from quarantine reads: the state of ``decision.decide_retry``.

A retry asks which responses of a session were charged. Sessions have no index of their own: they
would be one more page for nearly every row. So the rows of an account are read once for a request,
from the index over accounts: a second for a million rows.
"""

from typing import Any, Final

from accountd.data.models import in_sql
from accountd.ledger.group_commit import SqlState
from accountd.ledger.response_ids import unpack
from shared.usage import ESTIMATES

_MINE: Final = "account = (SELECT number FROM usage_accounts WHERE account_id = ?)"
_SESSIONS: Final = f"""
    SELECT s.session_id, u.id FROM usage_by_account u JOIN usage_sessions s ON s.number = u.session
    WHERE u.{_MINE} AND u.id <= ?
"""  # noqa: S608 - constants only
_LAST_ROW: Final = "SELECT coalesce(max(id), 0) FROM usage"
_ARCHIVED_BEFORE: Final = "SELECT coalesce(max(before_ms), 0) FROM archives"
# A waived estimate does not count as a charge of its responses.
_IS_CHARGED: Final = (
    f"NOT (kind IN {in_sql(ESTIMATES)} AND topup_deducted = 0 AND token_deducted = 0)"
)
_ROW: Final = f"SELECT response_ids FROM usage_metrics WHERE id = ? AND {_IS_CHARGED}"  # noqa: S608
_NEW_ROWS: Final = f"""
    SELECT response_ids FROM usage_metrics
    WHERE id > ? AND account_id = ? AND session_id = ? AND {_IS_CHARGED}
"""  # noqa: S608 - constants only


class RetryState(SqlState):
    """The committed state, and what this request has charged. It is made anew for each request."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        (self._last_row,) = connection.execute(_LAST_ROW).fetchone()
        (self.archived_before_ms,) = connection.execute(_ARCHIVED_BEFORE).fetchone()
        self._rows: dict[str, dict[str, list[int]]] = {}  # account, session -> ids of rows

    def charged_responses(self, account_id: str, session_id: str) -> set[str]:
        """The ids of all responses of a session that were charged."""
        if account_id not in self._rows:
            by_session = self._rows[account_id] = {}
            found = self._connection.execute(_SESSIONS, (account_id, self._last_row))
            for session, row_id in found:
                by_session.setdefault(session, []).append(row_id)
        stored = [
            names
            for row_id in self._rows[account_id].get(session_id, ())
            for (names,) in self._connection.execute(_ROW, (row_id,))
        ]
        since = self._connection.execute(_NEW_ROWS, (self._last_row, account_id, session_id))
        stored += [names for (names,) in since]
        return {name for names in stored for name in unpack(names)}
