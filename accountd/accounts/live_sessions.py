"""Counts sessions where a key or its account may have, or begin, only so many.

On the thread of requests alone: ``authorize`` begins a session, gateways renew what they hold
(``leases.renew``). Other threads may only look at counts. It is all in memory: after a restart of
accountd gateways tell what they hold within a second or two, and until then more may begin.
"""

import time
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Final

from accountd.accounts.leases import Owner
from accountd.accounts.limits import EffectiveLimits
from accountd.accounts.session_counts import TOO_MANY, TOO_MANY_NEW, SessionCounts
from accountd.data import models
from accountd.request_params import Json, Params, RequestError
from shared.metrics import Metric

# In one request of 64 KiB: an id, and an id with the hash of a key.
RELEASED_MAX: Final = 1_000
HELD_MAX: Final = 500


class LiveSessions:
    """The sessions that are counted."""

    def __init__(self) -> None:
        self._counts = SessionCounts()
        self._refused = Counter[str]({TOO_MANY: 0, TOO_MANY_NEW: 0})

    def of_key(self, key_hash: str) -> int:
        """How many of a key live."""
        return self._counts.leases.of_key(key_hash)

    def of_account(self, account_id: str) -> int:
        """How many of an account live."""
        return self._counts.leases.of_account(account_id)

    def begin(
        self, params: Params, key_hash: str, account_id: str, limits: EffectiveLimits
    ) -> bool:
        """A session begins, where ``gateway`` and ``lease`` name one: whether it holds that lease.
        ``session`` is its name where it takes the place of another with this name. Raises
        ``RequestError`` where there are too many.
        """
        if not params.has("lease"):
            return False
        gateway, lease = params.text("gateway"), params.text("lease")
        owner = Owner(key_hash, account_id, params.optional_text("session") or "")
        try:
            return self._counts.begin(gateway, lease, owner, limits, now=time.monotonic())
        except RequestError as exc:
            self._refused[exc.code] += 1
            raise

    def renew(self, params: Params) -> Json:
        """A gateway lives: what it has ``released``, and what it holds where it was not known
        before. ``is_last``: it stops.
        """
        gateway, now = params.text("gateway"), time.monotonic()
        released = params.texts("released", at_least=0, at_most=RELEASED_MAX)
        held = params.pairs("held", at_most=HELD_MAX)
        accounts = _accounts_of({key_hash for _, key_hash in held})
        is_known = self._counts.leases.renew(gateway, released, now=now)
        for lease, key_hash in held:
            if key_hash in accounts:  # else the database is an older one, restored
                owner = Owner(key_hash, accounts[key_hash])
                self._counts.leases.hold(gateway, lease, owner, now=now)
        if params.flag("is_last"):
            self._counts.leases.leave(gateway)
        return {"is_known": is_known}

    def metrics(self) -> list[Metric]:
        """The numbers of this part, for ``/metrics``."""
        return [
            Metric(
                "rts_accountd_leases", "gauge",
                "Live sessions of keys and accounts that may have only so many.",
                lambda: self._counts.leases.total,
            ),
            Metric(
                "rts_accountd_sessions_refused", "counter",
                "Sessions refused because their key or account has, or began, too many.",
                lambda: dict(self._refused), "code",
            ),
        ]  # fmt: skip


def _accounts_of(key_hashes: Collection[str]) -> Mapping[str, str]:
    """The account of each of these keys that there is."""
    if not key_hashes:
        return {}
    marks = ",".join("?" * len(key_hashes))
    query = f"SELECT key_hash, account_id FROM api_keys WHERE key_hash IN ({marks})"  # noqa: S608
    return dict(models.database.execute_sql(query, tuple(key_hashes)).fetchall())
