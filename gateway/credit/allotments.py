"""How a balance is divided among gateways, and which earlier allotments still bind. Pure.

A gateway's *allotment* is the balance divided by the gateways that serve the account. When a new
balance brings a new one, other gateways may not have heard of it, and spend by the old one. So the
old one binds as well, for ``LATE_S`` or, after a restart of accountd, until ``RECONNECT_S`` are
over.

Example: an allotment of 30, of which 30 are metered. A new balance brings a new allotment of 20.
Until ``LATE_S`` later the tighter one counts: 0 are left; from then on 20.

Amounts are nano-credits; ``now`` is monotonic seconds. Used by ``credit`` alone.
"""

from collections import deque
from math import inf
from typing import Final

from shared.announcements import AnnouncedBalance
from shared.rates import NANO_PER_CREDIT

# Gateways reconnect to a restarted accountd one by one, each with usage that it metered meanwhile.
# Until all are back the balances are too high, so each stays within what was left of its allotment.
RECONNECT_S: Final = 5.0
# Time after which every gateway has heard of usage: it takes milliseconds, and rarely a second on a
# busy machine. While accountd is away no allotment is renewed.
LATE_S: Final = 1.0


def allotment_of(balance: AnnouncedBalance) -> int:
    """What this gateway may spend of ``balance``, in nano-credits; negative in debt.

    Example: a balance of 90 credits that three gateways spend from is 30 credits for each.
    """
    return balance.credits * NANO_PER_CREDIT // balance.gateways


class OldAllotments:
    """The bounds that old allotments set to what one account may have metered here."""

    __slots__ = ("_bounds", "_metered", "_reconnected_at")

    def __init__(self) -> None:
        # (until when it binds, the highest value of ``_metered`` that it allows). Both ascend, so
        # the first bound is the tightest and the first to expire.
        self._bounds: deque[tuple[float, int]] = deque()
        self._metered = 0
        self._reconnected_at = -inf

    def __bool__(self) -> bool:
        """Whether any still binds."""
        return bool(self._bounds)

    def meter(self, nano: int) -> None:
        """So much more was metered."""
        self._metered += nano

    def left(self, new: int) -> int:
        """What may still be metered, where the newest allotment alone would allow ``new``."""
        return min(new, self._bounds[0][1] - self._metered) if self._bounds else new

    def accountd_restarted(self, now: float) -> None:
        """accountd was restarted: from now on, for ``RECONNECT_S``, every bound is kept."""
        self._reconnected_at = now + RECONNECT_S

    def keep(self, left: int, now: float) -> None:
        """Add a bound: of an allotment that a new balance replaces, ``left`` is left."""
        until, most = max(now + LATE_S, self._reconnected_at), self._metered + left
        while self._bounds and self._bounds[-1][1] >= most:
            self._bounds.pop()
        self._bounds.append((until, most))

    def grant(self, nano: int, now: float) -> None:
        """The account was given credits, ``nano`` of them for this gateway: they count at once.

        A gateway that has not heard of them spends less, never more. While gateways reconnect to a
        restarted accountd they do not count, because it is not known by how many to divide them.
        """
        if now >= self._reconnected_at:
            self._metered -= nano

    def expire(self, now: float) -> bool:
        """Drop the bounds whose time is over; whether there were any."""
        if not self._bounds or now < self._bounds[0][0]:
            return False
        while self._bounds and self._bounds[0][0] <= now:
            self._bounds.popleft()
        return True
