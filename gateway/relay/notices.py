"""Events of the gateway's own for a client that asked for them (``?rs_events=1``).

``Session`` says when something is new; what cannot be sent yet stays due. An event of ours is never
put inside a fragmented message, and not into the write buffer of a client that does not read.
"""

import json

from gateway.connections.connection import Connection
from gateway.credit.balances import SessionCredit


class Notices:
    """What one client is yet to hear: its balance (``rts.credit``), and that its session will end
    soon (``rts.session_ending``).
    """

    __slots__ = ("_credit", "_is_warning_due", "is_balance_due")

    def __init__(self, credit: SessionCredit) -> None:
        self._credit = credit
        self.is_balance_due = self._is_warning_due = credit.wants_balances

    def send_balance(self, client: Connection) -> None:
        """Send the newest balance; it stays due where that is not possible now."""
        if not client.is_write_paused:
            balance = self._credit.balance
            event = {
                "type": "rts.credit",
                "topup_remaining": balance.topup,
                "token_remaining": balance.tokens,
            }
            text = json.dumps(event, separators=(",", ":")).encode()
            self.is_balance_due = not client.send_event(text)

    def send_provider(self, client: Connection, provider: str, model: str) -> None:
        """Tell a client that asked for events that the session goes on at another connection, to
        ``provider``. One that is in the middle of a message is not told.
        """
        if self._credit.wants_balances:
            event = {"type": "rts.provider", "provider": provider, "model": model}
            client.send_event(json.dumps(event, separators=(",", ":")).encode())

    def send_warning(self, client: Connection, event: bytes) -> None:
        """Send ``event`` once, which says that the session ends soon."""
        if self._is_warning_due:
            self._is_warning_due = not client.send_event(event)
