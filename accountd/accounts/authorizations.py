"""Which key may open a session now. Answered on the thread of requests, from committed state.

``authorize`` only reads, so it waits for no transaction. The times when keys were used are kept in
memory; the daemon's one writing thread stores them now and then.
"""

import threading
from datetime import UTC, datetime, timedelta
from typing import Final

from accountd.accounts.limits import LimitReader
from accountd.accounts.live_sessions import LiveSessions
from accountd.accounts.recalls import Recalls
from accountd.accounts.spending import Spending
from accountd.clock import now_iso
from accountd.data import models
from accountd.data.models import ApiKey, Status
from accountd.request_params import Json, Params, RequestError, is_past
from accountd.times import parse_time

# Every session begins with it: as a query of the models it took 0.9 ms, most of it to build SQL.
# A revoked key is no row, like one that never was: to read it takes 12 µs more, and that can be
# measured from outside (``python -m bench refusals``).
_BY_KEY: Final = """
    SELECT a.id, k.key_indicator, a.plan_name, a.token_remaining, a.topup_remaining, a.status,
           k.expires_at, k.keeps_sessions, k.limits, a.limits
      FROM api_keys k JOIN accounts a ON a.id = k.account_id
     WHERE k.key_hash = ? AND k.revoked_at IS NULL
"""


class Authorizations:
    """``authorize``, and when keys were last used."""

    def __init__(
        self,
        recalls: Recalls | None = None,
        limits: LimitReader | None = None,
        sessions: LiveSessions | None = None,
    ) -> None:
        self._recalls = recalls or Recalls()
        self._limits = limits or LimitReader()
        self._spending = Spending(self._limits)
        self._sessions = sessions or LiveSessions()
        self._lock = threading.Lock()
        self._last_used: dict[str, str] = {}

    def authorize(self, params: Params) -> Json:
        """Whether the owner of this key may open a session, and what its account has left.

        It reads what is committed when it is asked: what another request was told before counts.
        Where ``gateway`` and ``lease`` name a session it begins, and is counted if that is limited.
        """
        key_hash = params.text("key_hash")
        mark = self._recalls.mark  # before the query, which then knows of all that it stands for
        # To the last row: a statement that is not finished would read of this moment for ever.
        rows = models.database.execute_sql(_BY_KEY, (key_hash,)).fetchall()
        if not rows:
            raise _unknown_key()
        ((account_id, indicator, plan, tokens, topup, status, *of_key),) = rows
        expires_at, keeps_sessions, key_limits, account_limits = of_key
        _check_expiry(expires_at)
        if status != Status.ACTIVE:
            raise RequestError("account_disabled", "the account is disabled")
        if tokens + topup <= 0:
            raise RequestError("insufficient_credits", "no credits left; top up the account")
        limits = self._limits.effective(key_limits, account_limits)
        spending_left = self._spending.left(key_hash, limits.key)
        is_leased = limits.counts_sessions and self._sessions.begin(
            params, key_hash, account_id, limits
        )
        with self._lock:
            self._last_used[key_hash] = now_iso()
        return {
            "account_id": account_id,
            "key_indicator": indicator,
            "plan_name": plan,
            "token_remaining": tokens,
            "topup_remaining": topup,
            "mark": mark,
            "expires_in_ms": _ms_until(expires_at),
            "keeps_sessions": bool(keeps_sessions),
            "limits": limits.session,
            "is_leased": is_leased,
        } | ({} if spending_left is None else {"spending_left": spending_left})

    def write_last_used(self) -> None:
        """Store when keys were last used; called now and then, not for every session.

        Called on the writing thread. A database error is raised, and the times are kept for the
        next call.
        """
        with self._lock:
            used, self._last_used = self._last_used, {}
        if not used:
            return
        try:
            with models.database.atomic("IMMEDIATE"):
                for key_hash, moment in used.items():
                    ApiKey.update(last_used_at=moment).where(ApiKey.key_hash == key_hash).execute()
        except BaseException:
            with self._lock:
                self._last_used = used | self._last_used
            raise


def _ms_until(expires_at: str | None) -> int | None:
    """How long a key counts from now on, in milliseconds, 0 at least; None: for ever."""
    if expires_at is None:
        return None
    return max(0, (parse_time(expires_at) - datetime.now(UTC)) // timedelta(milliseconds=1))


def live_key(key_hash: str) -> ApiKey:
    """The key with this hash, or ``RequestError`` when it is unknown, revoked or expired."""
    key = ApiKey.get_or_none((ApiKey.key_hash == key_hash) & ApiKey.revoked_at.is_null())
    if key is None:
        raise _unknown_key()
    _check_expiry(key.expires_at)
    return key


def _unknown_key() -> RequestError:
    return RequestError("invalid_api_key", "the API key is unknown or was revoked")


def _check_expiry(expires_at: str | None) -> None:
    """Raise ``RequestError`` where a key has expired."""
    if is_past(expires_at, datetime.now(UTC)):
        raise RequestError("expired_api_key", f"the API key expired at {expires_at}")
