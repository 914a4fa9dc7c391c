"""What gateways are told to end: sessions of a key, of an account, or by name.

A *recall* is written in the transaction of what causes it (a key is revoked), on the daemon's one
writing thread, and announced once that is committed and before it is answered. Gateways ask for
those that they may have missed every second, on the thread of requests, which only reads.

Every recall has a number, above all before it, over boots and restored backups: the first of a boot
is above its epoch. ``mark`` is the newest one; a session that was authorized at a mark is the
matter of the recalls above it.
"""

import time
from collections.abc import Callable
from typing import Final

from accountd.accounts.confirmations import Confirmations
from accountd.clock import now_iso
from accountd.data import models
from accountd.request_params import AMOUNT_MAX, Json, Params
from shared.announcements import Recall, encode_recall
from shared.wire import ENDED_MAX, EPOCH_MAX

# In one answer; whoever asked asks again at once for the others. Each is as long as three names.
RECALLS_MAX: Final = 20

_NEWEST: Final = "SELECT coalesce(max(number), 0) FROM recalls"
_INSERT: Final = (
    "INSERT INTO recalls"
    " (number, cause, account_id, key_hash, session_id, keeps_sessions, created_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_SINCE: Final = (
    "SELECT number, cause, account_id, key_hash, session_id, keeps_sessions FROM recalls"
    " WHERE number > ? AND number <= ? ORDER BY number LIMIT ?"
)


class Recalls:
    """The recalls of all boots that are still kept. ``begin`` before use."""

    def __init__(self) -> None:
        self.mark = 0  # read by another thread: an integer that only rises
        self._unannounced: list[Recall] = []
        self._confirmations = Confirmations()  # only of the thread of requests

    def begin(self, *, epoch: int) -> None:
        """``epoch`` is that of this boot, which has changed nothing yet."""
        ((newest,),) = models.database.execute_sql(_NEWEST).fetchall()
        self.mark = max(epoch, newest)

    def take(self) -> list[Recall]:
        """The recalls that were committed since the last call."""
        taken, self._unannounced = self._unannounced, []
        return taken

    def write(
        self,
        cause: str,
        *,
        account_id: str = "",
        key_hash: str = "",
        session_id: str = "",
        keeps_sessions: bool = False,
        change: Callable[[], object] = lambda: None,
    ) -> Recall:
        """Recall what was allowed to these, in one transaction with the ``change`` that causes it.
        With ``keeps_sessions`` live sessions go on, and nothing new is allowed by what gateways
        remember.
        """
        number = self.mark + 1
        recall = Recall(number, cause, account_id, key_hash, session_id, keeps_sessions)
        values = (number, cause, account_id, key_hash, session_id, int(keeps_sessions), now_iso())
        with models.database.atomic("IMMEDIATE"):
            change()
            models.database.execute_sql(_INSERT, values)
        self.mark = number
        self._unannounced.append(recall)
        return recall

    def since(self, params: Params) -> Json:
        """The recalls above ``since``, and up to which one they are all; absent: only that.

        ``gateway`` is who asks, ``ended`` what the newest recalls ended there: numbers and counts.
        ``is_last``: it stops.
        """
        since = params.optional_integer("since", 0, EPOCH_MAX)
        ended = [
            (each.integer("number", 1, EPOCH_MAX), each.integer("sessions", 0, AMOUNT_MAX))
            for each in params.groups("ended", at_most=ENDED_MAX)
        ]
        gateway = params.text("gateway")
        self._confirmations.asked(gateway, since, dict(ended), now=time.monotonic())
        if params.flag("is_last"):
            self._confirmations.left(gateway)
        mark = self.mark  # before the query: what it names is committed
        if since is None:
            return {"mark": mark, "recalls": []}
        rows = models.database.execute_sql(_SINCE, (since, mark, RECALLS_MAX)).fetchall()
        found = [
            Recall(number, cause, account_id, key_hash, session_id, bool(keeps_sessions))
            for number, cause, account_id, key_hash, session_id, keeps_sessions in rows
        ]
        if len(found) == RECALLS_MAX:
            mark = found[-1].number
        return {"mark": mark, "recalls": [encode_recall(recall) for recall in found]}

    def outcome(self, params: Params) -> Json:
        """How many of the gateways have obeyed the recall ``number``, and what it ended there."""
        number = params.integer("number", 1, EPOCH_MAX)
        found = self._confirmations.outcome(number, now=time.monotonic())
        return {"gateways": found.gateways, "confirmed": found.confirmed, "ended": found.ended}
