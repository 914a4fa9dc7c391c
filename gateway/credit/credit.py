"""What an account may still spend here: the announced balance less what is not in it yet. Pure.

accountd announces balances; what this gateway has metered and accountd has not applied is
subtracted. Other gateways spend from the same balance, and what they have metered is not known
here. So each may spend its *allotment*: the balance divided by the number of gateways that serve
the account. Once its allotment is spent, a gateway starts nothing new until the next balance. The
allotments add up to the balance, so whichever messages are lost and processes restart, an account
overshoots by no more than the responses that were in progress when its credit ended.

A new balance also brings a new allotment, while other gateways may still spend, or have spent and
not sent, their allotments of the balance before. So for a while every gateway also stays within
what was left of its old allotment (``allotments``). Example: three gateways, a balance of 90,
an allotment of 30 each; one that has spent its 30 and hears of a new balance of 60 has a new
allotment of 20, and may begin to spend it ``LATE_S`` later.

Amounts are nano-credits (``shared.rates``) unless a name says credits; ``now`` is monotonic
seconds.
"""

from enum import Enum
from typing import Final

from gateway.credit.allotments import OldAllotments, allotment_of
from gateway.credit.pending import PendingUsage
from shared.announcements import AnnouncedBalance
from shared.rates import NANO_PER_CREDIT

# How much of a response's cost goes into the typical one, inverted: the last handful counts.
_TYPICAL_WEIGHT: Final = 4
# A balance that was not announced so long after usage was sent is asked for: commits take
# milliseconds, and a restart of accountd about a second.
OVERDUE_S: Final = 1.0


class CreditStatus(Enum):
    """What the credit allows. The value is the word in the log."""

    AVAILABLE = "available"
    ALLOTMENT_SPENT = "allotment_spent"  # nothing new may start before the next balance
    EXHAUSTED = "exhausted"  # nothing is left of the balance


class Credit:
    """One account's credit as this gateway knows it. ``CreditTable`` makes it and updates it."""

    __slots__ = (
        "_is_new_boot", "_near_responses", "_old_allotments", "_pending", "_typical",
        "_typical_least", "_unsent", "_waits_since", "account_id", "balance", "sessions",
    )  # fmt: skip

    def __init__(
        self, balance: AnnouncedBalance, *, near_responses: int, typical_credits: int = 1
    ) -> None:
        """``balance`` is from the authorization of the key: it stands until the first
        announcement. ``typical_credits``: what a response costs, until one has cost more; from 1.
        """
        self.account_id = balance.account_id
        self.balance = balance
        self.sessions = 0
        self._near_responses = near_responses
        self._typical_least = typical_credits * NANO_PER_CREDIT
        self._typical = 0  # a moving average of what a response costs
        self._unsent = 0  # metered, and in no message yet
        self._pending = PendingUsage()
        self._old_allotments = OldAllotments()
        self._is_new_boot = False  # whether the balance is the first of a boot of accountd
        self._waits_since: float | None = None  # since when messages wait for a balance

    # --- what it allows ---------------------------------------------------------------------------

    @property
    def left(self) -> int:
        """The balance less what is not in it yet; at most 0 when nothing is left."""
        return self.balance.credits * NANO_PER_CREDIT - self._spent

    @property
    def status(self) -> CreditStatus:
        """Whether a session may go on. What may be in the balance already ends none."""
        if self.left + self._pending.perhaps_included <= 0:
            return CreditStatus.EXHAUSTED
        return CreditStatus.AVAILABLE if self._allotment_left > 0 else CreditStatus.ALLOTMENT_SPENT

    @property
    def is_near_empty(self) -> bool:
        """Whether every response must be sent at once: the allotment is nearly spent."""
        return self._allotment_left <= self._near_responses * self._typical

    @property
    def slots(self) -> int:
        """How many responses at once the allotment pays for; one at least, unless nothing new may
        start.
        """
        if self.status is not CreditStatus.AVAILABLE:
            return 0
        return max(1, self._allotment_left // max(self._typical_least, self._typical))

    @property
    def is_idle(self) -> bool:
        """Whether it can be forgotten: no session, and no usage that a balance lacks."""
        return not (self.sessions or self._unsent or self._pending)

    @property
    def is_waiting(self) -> bool:
        """Whether time alone may change something: a balance is due, or an old allotment binds."""
        return self._waits_since is not None or bool(self._old_allotments)

    def is_overdue(self, now: float) -> bool:
        """Whether a balance should have been announced and was not."""
        return self._waits_since is not None and now - self._waits_since > OVERDUE_S

    @property
    def _allotment_left(self) -> int:
        return self._old_allotments.left(self._new_allotment_left)

    @property
    def _new_allotment_left(self) -> int:
        """What is left of the allotment by the newest balance alone."""
        return allotment_of(self.balance) - self._spent

    @property
    def _spent(self) -> int:
        return self._unsent + self._pending.nano

    # --- what happens -----------------------------------------------------------------------------

    def metered(self, nano: int, *, is_response: bool) -> None:
        """Something was metered that will be charged."""
        self._unsent += nano
        self._old_allotments.meter(nano)
        if is_response:
            step = (nano - self._typical) // _TYPICAL_WEIGHT
            self._typical = self._typical + step if self._typical else nano

    def sealed(self, nano: int, producer: bytes, sequence: int, *, now: float) -> None:
        """Some of what was metered is in a message."""
        self._unsent -= nano
        self._pending.add(nano, producer, sequence)
        if self._waits_since is None:
            self._waits_since = now

    def awaits(self, producer: bytes) -> bool:
        """Whether messages of the producer are in no balance yet."""
        return self._pending.has_producer(producer)

    def acknowledged(self, producer: bytes, through: int) -> bool:
        """Messages are durable; whether any of this account are among them."""
        return self._pending.acknowledge(producer, through, is_new_boot=self._is_new_boot)

    def announced(self, balance: AnnouncedBalance, *, now: float) -> None:
        """There is a newer balance: whatever was durable before is in it."""
        self._is_new_boot = balance.epoch != self.balance.epoch
        if self.balance.epoch:  # else it came with the authorization, without an allotment
            self._keep_allotment(balance, now)
        self.balance = balance
        self._pending.include(balance.applied)
        self._waits_since = now if self._pending else None

    def expire_allotments(self, now: float) -> bool:
        """Let old allotments expire; whether that changes what the credit allows."""
        before = self.status
        return self._old_allotments.expire(now) and self.status is not before

    def _keep_allotment(self, balance: AnnouncedBalance, now: float) -> None:
        """Stay within what is left of the allotment that ``balance`` replaces.

        Not where this gateway is the only one, before and after: then the allotment is the balance.
        After a restart of accountd the only one may be the first one back, so it keeps it.
        """
        if self._is_new_boot:
            left = self._allotment_left
            self._old_allotments.accountd_restarted(now)
        elif max(self.balance.gateways, balance.gateways) > 1:
            left = self._new_allotment_left
        else:
            return
        self._old_allotments.keep(left, now)
        given = balance.credits - self.balance.credits
        if given > 0:
            self._old_allotments.grant(given * NANO_PER_CREDIT // balance.gateways, now)
