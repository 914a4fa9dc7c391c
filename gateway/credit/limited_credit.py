"""The credit of a session whose key has a spending cap, or that has limits of its own.

A session without them has a ``balances.SessionCredit``, and pays nothing for what is here.
"""

import asyncio
from functools import reduce

from gateway.accountd_client.authorizations import Authorization
from gateway.credit.balances import Balances, SessionCredit
from gateway.credit.cap_seat import CapSeat
from gateway.credit.credit import Credit, CreditStatus
from gateway.credit.purses import Purse, SessionBudget, tighter
from shared.announcements import purse_of_key
from shared.usage import ESTIMATES, Kind, UsageBatch


def open_credit(
    balances: Balances, authorization: Authorization, *, wants_balances: bool
) -> SessionCredit:
    """A session begins; see ``Balances.open``."""
    limits, spending_left = authorization.limits, authorization.spending_left
    own = (limits.session_tokens, limits.session_credits, limits.session_s)
    if own == (None, None, None) and spending_left is None:
        return balances.open(authorization, wants_balances=wants_balances)
    credit = balances.open_as(LimitedCredit, authorization, wants_balances=wants_balances)
    credit.budget = SessionBudget(tokens=limits.session_tokens, credits_=limits.session_credits)
    if limits.session_s is not None:
        credit.last(limits.session_s)
    if spending_left is not None:
        purse = purse_of_key(authorization.key_hash)
        credit.spend_from(balances.open_purse(credit, purse, left=spending_left))
    return credit


class LimitedCredit(SessionCredit):
    """Several purses. The tightest says what the session may do."""

    __slots__ = ("_end", "_has_account_floor", "_is_account_crowded", "budget", "seats")

    def __init__(self, balances: Balances, credit: Credit, *, wants_balances: bool) -> None:
        self.seats: tuple[CapSeat, ...] = ()  # one for each spending cap
        super().__init__(balances, credit, wants_balances=wants_balances)
        self.budget = SessionBudget(tokens=None, credits_=None)
        self._end: asyncio.TimerHandle | None = None  # of its time

    def spend_from(self, cap: Credit) -> None:
        """The session spends from this cap, too, and takes turns with others that do."""
        seat = CapSeat(self, cap)
        self.seats += (seat,)
        self._balances.floors.join(seat, cap)

    def last(self, seconds: float) -> None:
        """The session may last for so long from now on, whatever provider serves it."""
        self._end = asyncio.get_running_loop().call_later(seconds, self._time_is_over)

    @property
    def status(self) -> CreditStatus:
        """Whether the session may go on."""
        if self.budget.used_up is not None:
            return CreditStatus.EXHAUSTED
        return reduce(tighter, (seat.cap.status for seat in self.seats), self._credit.status)

    @property
    def is_near_empty(self) -> bool:
        """Whether every response must be sent at once. What only this gateway counts needs none of
        that.
        """
        return self._credit.is_near_empty or any(seat.cap.is_near_empty for seat in self.seats)

    @property
    def used_up(self) -> Purse:
        """Which purse ends the session: what others spend from, too, comes first."""
        if self._credit.status is CreditStatus.EXHAUSTED:
            return Purse.CREDIT
        if any(seat.cap.status is CreditStatus.EXHAUSTED for seat in self.seats):
            return Purse.SPENDING
        return self.budget.used_up or Purse.CREDIT

    def spend(self, single: UsageBatch) -> int:
        """One response was metered: what it costs, in nano-credits."""
        nano, is_response = super().spend(single), single.kind == Kind.RESPONSE
        for seat in self.seats:
            seat.cap.metered(nano, is_response=is_response)
            if is_response and seat.is_crowded:
                self._balances.floors.answered(seat)
            self._balances.review(seat.cap)
        if single.kind not in ESTIMATES:
            before = self.budget.used_up
            self.budget.spend(tokens=single.usage.total_tokens, nano=nano)
            if self.budget.used_up is not before:
                self._balances.notify_soon(self)
        return nano

    def sealed(self, nano: int, producer: bytes, sequence: int) -> None:
        """``nano`` of what was metered is in the message with this sequence."""
        super().sealed(nano, producer, sequence)
        for seat in self.seats:
            self._balances.sealed(seat.account_id, nano, producer, sequence)

    # --- the floor: of the account, and of the caps ----------------------------------------------

    @property
    def is_crowded(self) -> bool:
        """Whether any of them has to hear of responses."""
        return self._is_account_crowded or any(seat.is_crowded for seat in self.seats)

    @is_crowded.setter
    def is_crowded(self, value: bool) -> None:
        """Of the account alone: ``floors`` says so."""
        self._is_account_crowded = value

    @property
    def has_floor(self) -> bool:
        """Whether the client may ask by all of them."""
        return self._has_account_floor and all(seat.has_floor for seat in self.seats)

    @has_floor.setter
    def has_floor(self, value: bool) -> None:
        """Of the account alone: ``floors`` says so."""
        self._has_account_floor = value

    def ask_for_floor(self) -> None:
        """The client has something to say. The account's floor is asked for once the caps' are had:
        who waits for those must not keep other keys from it.
        """
        for seat in self.seats:
            self._balances.floors.ask(seat)
        if all(seat.has_floor for seat in self.seats):
            super().ask_for_floor()

    def report(self) -> None:
        """See to it that it is known which responses are under way."""
        super().report()
        for seat in self.seats:
            if seat.is_crowded:
                self._balances.floors.report(seat, self.responses())

    def leave_floor(self) -> None:
        """The client is gone."""
        super().leave_floor()
        for seat in self.seats:
            self._balances.floors.leave(seat, seat.cap)

    def close(self) -> None:
        """The session has ended."""
        self.leave_floor()
        super().close()
        if self._end is not None:
            self._end.cancel()
        for seat in self.seats:
            self._balances.close_session(self, seat.cap)

    def _time_is_over(self) -> None:
        self.budget.is_over = True
        self._balances.notify_soon(self)
