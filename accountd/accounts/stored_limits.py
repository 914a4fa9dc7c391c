"""The limits of keys and accounts in the database: what holds, with one query."""

from typing import Final

from accountd.accounts.limits import (
    NOTHING_STORED,
    EffectiveLimits,
    LimitDefaults,
    LimitReader,
)
from accountd.data import models
from shared.limits import Limits

_OF_KEY: Final = (
    "SELECT k.limits, a.limits FROM api_keys k JOIN accounts a ON a.id = k.account_id"
    " WHERE k.key_hash = ?"
)
_OF_ACCOUNT: Final = "SELECT limits FROM accounts WHERE id = ?"


class StoredLimits:
    """Limits of keys and accounts. Asked on any thread that has a connection of its own."""

    def __init__(self, defaults: LimitDefaults | None = None) -> None:
        self.reader = LimitReader(defaults)

    def of_key(self, key_hash: str) -> EffectiveLimits | None:
        """Those of a key and of its account; None where there is no such key."""
        rows = models.database.execute_sql(_OF_KEY, (key_hash,)).fetchall()
        return self.reader.effective(*rows[0]) if rows else None

    def of_account(self, account_id: str) -> Limits | None:
        """Those of an account; None where there is none."""
        rows = models.database.execute_sql(_OF_ACCOUNT, (account_id,)).fetchall()
        return self.reader.effective(NOTHING_STORED, rows[0][0]).account if rows else None
