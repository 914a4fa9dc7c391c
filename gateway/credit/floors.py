"""Gives the floor to sessions of accounts whose credit does not pay a response for each.

The rules are in ``floor``. An account is *crowded* while it has more members, sessions and calls,
than its credit pays responses for (``Credit.slots``); and so is a key's spending cap, whose name
stands for the account's here. Nothing is counted before that, and a member
of an account that is not crowded is told nothing. Owned by ``balances``.
"""

import asyncio
from math import inf
from typing import Final, Protocol

import structlog

from gateway.credit.credit import Credit
from gateway.credit.floor import Floor
from gateway.limits import FLOOR_ASKED_S, FLOOR_IDLE_S
from shared.announcements import key_of_purse
from shared.metrics import Metric

log = structlog.get_logger()

TICK_S: Final = 0.5


class FloorMember(Protocol):
    """A session's or a call's access to its account's credit."""

    is_crowded: bool
    """Whether the account is crowded, so that the member has to report its responses."""
    has_floor: bool
    """Whether its client may ask; always, where the account is not crowded."""

    @property
    def account_id(self) -> str:
        """Whose credit it spends."""

    def responses(self) -> int:
        """How many of its responses are under way."""

    def is_asked(self) -> bool:
        """Whether a response was asked for that has not begun."""

    def is_continuous(self) -> bool:
        """Whether it has no responses that begin and end, and so no turns to give back."""

    def may_answer(self) -> bool:
        """Whether its user speaks, so that a response may begin."""

    def floor_changed(self) -> None:
        """``is_crowded`` or ``has_floor`` has changed. Where it has the floor no more nothing is
        done that others would notice: it may be called at any time.
        """


class Floors:
    """The members of every account, and the floor of those that are crowded."""

    def __init__(self, *, is_on: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self._is_on = is_on
        self._members: dict[str, dict[FloorMember, None]] = {}  # in the order of their beginning
        self._floors: dict[str, Floor[FloorMember]] = {}
        self._unsettled: set[str] = set()
        self._ticker: asyncio.TimerHandle | None = None

    @property
    def crowded(self) -> int:
        """How many accounts are crowded, and caps."""
        return len(self._floors)

    @property
    def waiting(self) -> int:
        """How many sessions wait for a turn: clients who have said something that is kept back."""
        # A copy: the ops thread reads it.
        return sum(floor.waiting for floor in list(self._floors.values()))

    def metrics(self) -> list[Metric]:
        """The numbers of this part, for ``/metrics``."""
        return [
            Metric(
                "rts_gateway_crowded_accounts", "gauge",
                "Accounts and spending caps with more sessions here than they pay responses for.",
                lambda: self.crowded,
            ),
            Metric(
                "rts_gateway_sessions_waiting_for_turn", "gauge",
                "Sessions of these whose clients are not asked before it is their turn.",
                lambda: self.waiting,
            ),
        ]  # fmt: skip

    def stop(self) -> None:
        """Tick no more."""
        if self._ticker is not None:
            self._ticker.cancel()

    def has_room(self, credit: Credit) -> bool:
        """Whether the credit pays a response for one more member."""
        members = self._members.get(credit.account_id)
        return not (self._is_on and members) or len(members) < credit.slots

    def join(self, member: FloorMember, credit: Credit) -> None:
        """A session or call begins. Where that makes a crowd, all know on return: their clients'
        next words may be read before the next turn of the loop.
        """
        self._members.setdefault(member.account_id, {})[member] = None
        member.is_crowded = member.account_id in self._floors
        member.has_floor = not member.is_crowded
        self.review(credit)

    def leave(self, member: FloorMember, credit: Credit) -> None:
        """It has no client any more, or takes no turns."""
        account = member.account_id
        members = self._members.get(account, {})
        if members.pop(member, member) is member:
            return
        member.is_crowded, member.has_floor = False, True
        if not members:
            del self._members[account]
        if (floor := self._floors.get(account)) is not None:
            floor.leave(member)
            self._settle_soon(account)
            self.review(credit)

    def review(self, credit: Credit) -> None:
        """Its members, or what is left, have changed."""
        account = credit.account_id
        members = self._members.get(account, ())
        # One alone needs no floor, whatever is left.
        is_crowded = self._is_on and len(members) > 1 and len(members) > (slots := credit.slots)
        floor = self._floors.get(account)
        if is_crowded and floor is None:
            self._begin(account, slots)
        elif is_crowded and floor is not None and floor.slots != slots:
            floor.slots = slots
            self._settle_soon(account)
        elif not is_crowded and floor is not None:
            self._end(account)

    def ask(self, member: FloorMember) -> None:
        """Its client has something to say."""
        floor = self._floors.get(member.account_id)
        if floor is not None:
            floor.ask(member)
            self._settle_soon(member.account_id)

    def report(self, member: FloorMember, responses: int) -> None:
        """So many of its responses are under way."""
        floor = self._floors.get(member.account_id)
        if floor is not None and floor.report(member, responses, self._loop.time()):
            self._see_to(member, floor)

    def answered(self, member: FloorMember) -> None:
        """One of its responses was metered."""
        floor = self._floors.get(member.account_id)
        if floor is not None and not member.is_continuous() and floor.answered(member):
            self._see_to(member, floor)

    # --- helpers ----------------------------------------------------------------------------------

    def _begin(self, account: str, slots: int) -> None:
        members = self._members[account]
        if slots:
            whose = whose_balance(account)
            log.info("credit for few responses", **whose, slots=slots, sessions=len(members))
        floor = self._floors[account] = Floor[FloorMember](slots)
        now = self._loop.time()
        for member in members:
            goes_on = member.is_asked() or member.is_continuous()
            if not floor.report(member, member.responses(), now) and goes_on:
                floor.give(member, now)
            member.is_crowded, member.has_floor = True, floor.has(member)
            member.floor_changed()
        self._settle_soon(account)
        if self._ticker is None:
            self._ticker = self._loop.call_later(TICK_S, self._tick)

    def _end(self, account: str) -> None:
        del self._floors[account]
        members = self._members.get(account, {})
        for member in members:
            member.is_crowded, member.has_floor = False, True
        self._loop.call_soon(_tell, list(members))  # whose frames are forwarded, not in between

    def _see_to(self, member: FloorMember, floor: Floor[FloorMember]) -> None:
        """It knows at once that it has the floor no more; others get it in the next turn."""
        if not floor.has(member):
            member.has_floor = False
            member.floor_changed()
        self._settle_soon(member.account_id)

    def _settle_soon(self, account: str) -> None:
        if account not in self._unsettled:
            self._unsettled.add(account)
            self._loop.call_soon(self._settle, account)

    def _settle(self, account: str) -> None:
        self._unsettled.discard(account)
        floor = self._floors.get(account)
        if floor is None:
            return
        changed = floor.settle(self._loop.time(), idle_s=idle_s)
        for member in changed:
            member.has_floor = floor.has(member)
        _tell(changed)

    def _tick(self) -> None:
        """Time alone takes the floor from those that do not use it."""
        self._ticker = self._loop.call_later(TICK_S, self._tick) if self._floors else None
        for account, floor in list(self._floors.items()):
            if floor.waiting:
                self._settle(account)


def whose_balance(name: str) -> dict[str, str]:
    """An account, or a key with a spending cap, for the log."""
    key = key_of_purse(name)
    return {"account": name} if key is None else {"key": key}


def idle_s(member: FloorMember) -> float:
    """How long it keeps the floor without a response while others wait. One without turns would
    be chopped: it keeps it as long as it lives.
    """
    if member.is_continuous():
        return inf
    return FLOOR_ASKED_S if member.is_asked() or member.may_answer() else FLOOR_IDLE_S


def _tell(members: list[FloorMember]) -> None:
    for member in members:
        member.floor_changed()
