"""Reports accounts that fell to their low-credit mark: in the log, a metric and the webhook.

The charge, retry or grant that crosses a mark inserts a row into ``low_credit_warnings`` in its own
transaction. After the COMMIT the daemon's loop calls this module, which reads the new rows. So
usage does not wait for the webhook, and a killed daemon sends unsent messages after its restart.
"""

import json
import time
from typing import Any, Final

import structlog

from accountd.clock import now_iso
from accountd.data import database
from accountd.data.database import transaction
from accountd.notifications.webhook import TRY_FOR_S, WebhookMessage, WebhookSender
from accountd.times import iso_of_ms, parse_time
from shared.metrics import Metric

log = structlog.get_logger()

NOTICED_TOGETHER_MAX: Final = 1_000  # warnings read in one turn of the loop; the next reads more
# Interval at which outcomes of messages are stored: a COMMIT for each would slow usage down.
STORE_S: Final = 1.0

_LAST: Final = "SELECT coalesce(max(id), 0) FROM low_credit_warnings"
_NEW: Final = """
    SELECT id, account_id, low_credit_mark, topup_remaining, token_remaining
    FROM low_credit_warnings WHERE id > ? ORDER BY id LIMIT ?
"""
# Unsent warnings. The second parameter leaves out those older than ``TRY_FOR_S``, from a time when
# there was no webhook or no daemon.
_TO_SEND: Final = """
    SELECT id, message_id, account_id, low_credit_mark, topup_remaining, token_remaining, created_at
    FROM low_credit_warnings
    WHERE id > ? AND outcome IS NULL AND created_at > ? ORDER BY id LIMIT ?
"""
_FINISH: Final = "UPDATE low_credit_warnings SET outcome = ?, settled_at = ? WHERE id = ?"


class LowCredit:
    """Logs new warnings and gives them to the webhook's thread.

    ``connection`` is the daemon's writing connection.
    """

    def __init__(self, connection: Any, sender: WebhookSender | None = None) -> None:
        self._connection = connection
        self._sender = sender
        (self._noticed,) = connection.execute(_LAST).fetchone()
        self._handed = 0  # not the newest id: an earlier process may have left warnings unsent
        self._stored_at = 0.0
        self._crossings = 0

    def metrics(self) -> list[Metric]:
        """The metrics; counters begin at 0 with the process."""
        found = [
            Metric(
                "rts_accountd_low_credit", "counter",
                "Accounts that fell to their low-credit mark.", lambda: self._crossings,
            )
        ]  # fmt: skip
        return found if self._sender is None else [*found, *self._sender.metrics()]

    def tick(self, *, now: float) -> None:
        """Log new warnings, store outcomes, give messages to the webhook's thread.

        ``now`` is any clock in seconds.

        A database that cannot be written now is tried again in a later tick.
        """
        try:
            self._notice()
            if self._sender is not None:
                if now - self._stored_at >= STORE_S:
                    self._stored_at = now
                    self._store_outcomes(self._sender)
                self._hand_over(self._sender)
        except Exception as exc:
            if database.passing_trouble(exc) is None:
                raise

    def stop(self) -> None:
        """Store which messages were sent; the others wait in the database for the next process."""
        if self._sender is not None:
            self._sender.close()
        self.tick(now=self._stored_at + STORE_S)

    def _notice(self) -> None:
        rows = self._connection.execute(_NEW, (self._noticed, NOTICED_TOGETHER_MAX)).fetchall()
        for row_id, account_id, mark, topup, tokens in rows:
            log.warning(
                "low credit", account_id=account_id, low_credit_mark=mark, topup_remaining=topup,
                token_remaining=tokens,
            )  # fmt: skip
            self._noticed = row_id
        self._crossings += len(rows)

    def _store_outcomes(self, sender: WebhookSender) -> None:
        finished = sender.finished()
        if finished:
            rows = [(outcome, now_iso(), row_id) for row_id, outcome in finished]
            with transaction(self._connection):
                self._connection.executemany(_FINISH, rows)
            sender.forget(len(finished))

    def _hand_over(self, sender: WebhookSender) -> None:
        if self._handed >= self._noticed or not sender.capacity:
            return
        oldest = iso_of_ms(int((time.time() - TRY_FOR_S) * 1000))
        rows = self._connection.execute(
            _TO_SEND, (self._handed, oldest, sender.capacity)
        ).fetchall()
        sender.put(_message(row) for row in rows)
        self._handed = rows[-1][0] if rows else self._noticed


def _message(row: tuple[Any, ...]) -> WebhookMessage:
    row_id, message_id, account_id, mark, topup, tokens, made_at = row
    data = {
        "account_id": account_id,
        "low_credit_mark": mark,
        "topup_remaining": topup,
        "token_remaining": tokens,
    }
    message = {"type": "account.low_credit", "timestamp": made_at, "data": data}
    body = json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode()
    return WebhookMessage(row_id, message_id, parse_time(made_at).timestamp(), body)
