"""Whether one more session may live, and begin, by what its key and its account may. Pure.

A session that is refused takes nothing: no lease, and nothing of the sessions a minute.
"""

import math
from collections.abc import Iterator
from typing import Final

from accountd.accounts.leases import Leases, Owner
from accountd.accounts.limits import EffectiveLimits
from accountd.accounts.session_rates import Pace, SessionRates
from accountd.request_params import RequestError

# A session ends now and then: a client that asks again every few seconds finds its place.
FULL_RETRY_S: Final = 5
TOO_MANY: Final = "too_many_sessions"
TOO_MANY_NEW: Final = "too_many_new_sessions"


class SessionCounts:
    """The sessions that live, and the pace at which they begin. ``now`` is monotonic seconds."""

    def __init__(self) -> None:
        self.leases = Leases()
        self._rates = SessionRates()

    def begin(
        self, gateway: str, lease: str, owner: Owner, limits: EffectiveLimits, *, now: float
    ) -> bool:
        """A session begins; whether it holds its lease: where it matters how many live.

        Raises ``RequestError`` where there are too many. A session that holds its lease already
        begins once: its gateway asks again. One that takes the place of another of its name is let
        in where that was the last: a client whose connection broke comes back before that is known.
        """
        if not self.leases.is_held(gateway, lease, now=now):
            self._refuse_if_full(owner, limits, now)
            self._keep_pace(owner, limits, now)
        is_leased = limits.key.sessions is not None or limits.account.sessions is not None
        if is_leased:
            self.leases.hold(gateway, lease, owner, now=now)
        return is_leased

    def _refuse_if_full(self, owner: Owner, limits: EffectiveLimits, now: float) -> None:
        of_key = self.leases.of_key(owner.key_hash, but=owner.session, now=now)
        of_account = self.leases.of_account(owner.account_id, but=owner.session, now=now)
        for who, most, live in (
            ("key", limits.key.sessions, of_key), ("account", limits.account.sessions, of_account),
        ):  # fmt: skip
            if most is not None and live >= most:
                message = f"this {who} may have {_sessions(most)} at a time, and has as many"
                raise RequestError(TOO_MANY, message, retry_after_s=FULL_RETRY_S)

    def _keep_pace(self, owner: Owner, limits: EffectiveLimits, now: float) -> None:
        paces = list(_paces(owner, limits))
        waits = [(self._rates.wait_s(pace, now), pace) for pace in paces]
        wait_s, pace = max(waits, key=lambda wait: wait[0], default=(0.0, None))
        if pace is not None and wait_s:
            message = f"this {pace.who} may begin {_sessions(pace.per_minute)} a minute"
            raise RequestError(TOO_MANY_NEW, message, retry_after_s=math.ceil(wait_s))
        self._rates.begin(paces, now)


def _sessions(count: int) -> str:
    return "1 session" if count == 1 else f"{count} sessions"


def _paces(owner: Owner, limits: EffectiveLimits) -> Iterator[Pace]:
    for who, name, held in (
        ("key", owner.key_hash, limits.key), ("account", owner.account_id, limits.account),
    ):  # fmt: skip
        if held.new_sessions_per_minute is not None:
            yield Pace(who, name, held.new_sessions_per_minute)
