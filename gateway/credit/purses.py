"""What a session spends from, and which of it is used up. Pure.

Every session spends its account's credit. It may have two purses more: what is left of its key's
spending cap, which accountd announces as it does balances, and what the session's own limits allow,
which only this gateway counts: tokens, credits, and time. The tightest decides. Used by
``limited_credit``.
"""

from enum import Enum
from math import inf

from gateway.credit.credit import CreditStatus
from shared.rates import NANO_PER_CREDIT


class Purse(Enum):
    """What is used up where a session has to end. The value is the code that its client hears."""

    CREDIT = "insufficient_quota"  # the account's
    SPENDING = "spending_limit_reached"  # what the key may spend in a period
    SESSION_TOKENS = "session_tokens_reached"
    SESSION_CREDITS = "session_credits_reached"
    SESSION_LENGTH = "session_length_reached"


class SessionBudget:
    """What one session may still use by its own limits."""

    __slots__ = ("_nano_left", "_tokens_left", "is_over")

    def __init__(self, *, tokens: int | None, credits_: int | None) -> None:
        """From 1; None: as much as it likes."""
        self._tokens_left = inf if tokens is None else tokens
        self._nano_left = inf if credits_ is None else credits_ * NANO_PER_CREDIT
        self.is_over = False  # the session has lasted as long as it may

    def spend(self, *, tokens: int, nano: int) -> None:
        """So much was metered."""
        self._tokens_left -= tokens
        self._nano_left -= nano

    @property
    def used_up(self) -> Purse | None:
        """Which limit is reached; None: none."""
        if self._tokens_left <= 0:
            return Purse.SESSION_TOKENS
        if self._nano_left <= 0:
            return Purse.SESSION_CREDITS
        return Purse.SESSION_LENGTH if self.is_over else None


def tighter(one: CreditStatus, other: CreditStatus) -> CreditStatus:
    """Which of the two allows less."""
    for status in (CreditStatus.EXHAUSTED, CreditStatus.ALLOTMENT_SPENT):
        if status in (one, other):
            return status
    return CreditStatus.AVAILABLE
