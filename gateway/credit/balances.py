"""Knows what every account that is served here has left, and notifies its sessions of changes.

The rules are in ``credit``. Balances are announced on PUB; one that does not arrive in time is
requested over RPC, so that no account can go on spending a balance that is out of date.
"""

import asyncio
from collections.abc import Iterable
from typing import Final, Protocol, TypeVar

import structlog

from gateway import background_tasks
from gateway.accountd_client.authorizations import Authorization
from gateway.accountd_client.rpc_client import RpcClient
from gateway.accountd_client.subscriber import Subscriber
from gateway.credit.asked import portions
from gateway.credit.credit import Credit, CreditStatus
from gateway.credit.credit_table import CreditTable
from gateway.credit.floors import Floors, whose_balance
from gateway.credit.prices import Prices
from gateway.credit.purses import Purse
from gateway.metering.base import RecentIds
from gateway.metering.usage_recorder import Recorder
from shared.announcements import (
    AnnouncedBalance,
    balance_topic,
    decode_balance,
    key_of_purse,
)
from shared.errors import UnreachableError
from shared.metrics import Metric
from shared.usage import Kind, UsageBatch

log = structlog.get_logger()

TICK_S: Final = 0.5
# Clients that watch their credit are notified at most so often: a busy account has a new balance in
# every commit, and this is fast enough for a display.
EVENTS_S: Final = 0.1


class CreditListener(Protocol):
    """A session or call that spends an account's credit."""

    def credit_changed(self) -> None:
        """What the credit allows has changed: its status, or whether it is nearly spent."""

    def balance_announced(self) -> None:
        """There is a new balance."""

    def floor_changed(self) -> None:
        """Whether the account's sessions take turns (``floors``), or whose turn it is, has
        changed.
        """

    @property
    def recorder(self) -> Recorder:
        """Which knows of its responses."""


class SessionCredit:
    """One session's access to its account's credit. ``listener`` is notified of changes.

    ``is_crowded`` and ``has_floor``: see ``floors.FloorMember``.
    """

    __slots__ = (
        "_balances", "_credit", "has_floor", "is_crowded", "listener", "wants_balances",
    )  # fmt: skip

    def __init__(self, balances: "Balances", credit: Credit, *, wants_balances: bool) -> None:
        self._balances = balances
        self._credit = credit
        self.listener: CreditListener | None = None
        self.wants_balances = wants_balances
        self.is_crowded, self.has_floor = False, True

    @property
    def account_id(self) -> str:
        """Whose credit it is."""
        return self._credit.account_id

    @property
    def status(self) -> CreditStatus:
        """Whether the session may go on."""
        return self._credit.status

    @property
    def is_near_empty(self) -> bool:
        """Whether every response must be sent at once."""
        return self._credit.is_near_empty

    @property
    def used_up(self) -> Purse:
        """What is used up where nothing is left."""
        return Purse.CREDIT

    @property
    def balance(self) -> AnnouncedBalance:
        """What accountd said last."""
        return self._credit.balance

    def spend(self, single: UsageBatch) -> int:
        """One response was metered: what it costs, in nano-credits; 0 when another socket of the
        account has reported it already.
        """
        nano = 0 if self._balances.is_repeated(single) else self._balances.price(single)
        is_response = single.kind == Kind.RESPONSE
        self._credit.metered(nano, is_response=is_response)
        if is_response and self.is_crowded:
            self._balances.floors.answered(self)
        self._balances.review(self._credit)
        return nano

    def sealed(self, nano: int, producer: bytes, sequence: int) -> None:
        """``nano`` of what was metered is in the message with this sequence."""
        self._balances.sealed(self._credit.account_id, nano, producer, sequence)

    # --- the floor --------------------------------------------------------------------------------

    def ask_for_floor(self) -> None:
        """The client has something to say, and the session has not the floor."""
        self._balances.floors.ask(self)

    def report(self) -> None:
        """See to it that it is known which responses are under way, where that matters."""
        if self.is_crowded:
            self._balances.floors.report(self, self.responses())

    def leave_floor(self) -> None:
        """The client is gone."""
        self._balances.floors.leave(self, self._credit)

    def responses(self) -> int:
        """See ``FloorMember``."""
        return 0 if self.listener is None else len(self.listener.recorder.streaming)

    def is_asked(self) -> bool:
        """See ``FloorMember``: some meters count what was asked for as under way."""
        return self.listener is not None and (
            self.listener.recorder.is_asked or self.responses() > 0
        )

    def is_continuous(self) -> bool:
        """See ``FloorMember``."""
        return self.listener is not None and self.listener.recorder.is_continuous

    def may_answer(self) -> bool:
        """See ``FloorMember``."""
        return self.listener is not None and self.listener.recorder.may_answer

    def floor_changed(self) -> None:
        """See ``FloorMember``."""
        if self.listener is not None:
            self.listener.floor_changed()

    def close(self) -> None:
        """The session has ended."""
        self._balances.close_session(self, self._credit)


Access = TypeVar("Access", bound=SessionCredit)


class Balances:
    """The credit of all accounts that this process serves. ``start`` before use."""

    def __init__(
        self,
        subscriber: Subscriber,
        accountd: RpcClient,
        *,
        near_responses: int,
        typical_credits: int,
    ) -> None:
        """``near_responses``, ``typical_credits``: see ``CreditTable``; 0 as the latter: sessions
        take no turns.
        """
        self._loop = asyncio.get_running_loop()
        self._subscriber = subscriber
        self._accountd = accountd
        self._credits = CreditTable(
            near_responses=near_responses, typical_credits=max(1, typical_credits)
        )
        self.floors = Floors(is_on=typical_credits > 0)
        self._sessions: dict[str, set[SessionCredit]] = {}
        self._watchers: dict[str, set[SessionCredit]] = {}  # those that want every balance
        self._notifying: set[str] = set()  # accounts whose watchers are notified in a moment
        # Of what each account's sessions were notified last: the status, and whether it is near
        # empty.
        self._notified: dict[str, tuple[CreditStatus, bool]] = {}
        self._shared = RecentIds()  # responses that several sockets hear
        self._prices = Prices(accountd)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to ask for the rate card, and for balances that were not announced in time."""
        self._prices.start()
        self._tasks = [background_tasks.start(self._ask_when_overdue())]

    async def stop(self) -> None:
        """Ask no more."""
        await background_tasks.stop(self._tasks)
        self.floors.stop()
        await self._prices.stop()

    def open(self, authorization: Authorization, *, wants_balances: bool) -> SessionCredit:
        """A session of the account begins. ``wants_balances``: notify it of each new balance."""
        return self.open_as(SessionCredit, authorization, wants_balances=wants_balances)

    def open_as(
        self, kind: type[Access], authorization: Authorization, *, wants_balances: bool
    ) -> Access:
        """The same, for a session whose access to the credit is of this ``kind``."""
        account = authorization.account_id
        credit = self._credits.open(
            account, topup=authorization.topup_remaining, tokens=authorization.token_remaining
        )
        session = kind(self, credit, wants_balances=wants_balances)
        self._attend(account, session)
        if wants_balances:
            self._watchers.setdefault(account, set()).add(session)
        self.floors.join(session, credit)
        return session

    def open_purse(self, session: SessionCredit, purse: str, *, left: int) -> Credit:
        """A session spends from another purse, too: a balance of its own, under the name ``purse``,
        of which ``left`` credits were left. ``close_session`` closes it.
        """
        credit = self._credits.open(purse, topup=0, tokens=left)
        self._attend(purse, session)
        return credit

    def has_room(self, name: str) -> bool:
        """Whether an account's credit, or a purse, pays a response for one more call, beside the
        sessions here.
        """
        credit = self._credits.find(name)
        return credit is None or self.floors.has_room(credit)

    def metrics(self) -> list[Metric]:
        """The numbers of this part, for ``/metrics``."""
        return [
            Metric(
                "rts_gateway_live_accounts", "gauge", "Accounts that have sessions here.",
                self._live_accounts,
            ),
            Metric(
                "rts_gateway_held_accounts", "gauge",
                "Accounts whose sessions wait until accountd says what is left.",
                self._held_accounts,
            ),
            *self.floors.metrics(),
        ]  # fmt: skip

    # --- usage ------------------------------------------------------------------------------------

    def price(self, single: UsageBatch) -> int:
        """See ``Prices.price``."""
        return self._prices.price(single)

    def is_repeated(self, single: UsageBatch) -> bool:
        """Whether another session of the account here has metered the same response; remembers it.

        accountd charges it once. Where another gateway has metered it, the next balance corrects
        the estimate.
        """
        if not single.is_shared:
            return False
        name = f"{single.account_id} {single.provider} {single.kind} {single.response_ids[0]}"
        return self._shared.is_repeated(name)

    def sealed(self, account_id: str, nano: int, producer: bytes, sequence: int) -> None:
        """``nano`` of what was metered is in the message with this sequence."""
        self._credits.sealed(account_id, nano, producer, sequence, now=self._loop.time())

    def answered(self, epoch: int) -> None:
        """See ``CreditTable.answered``."""
        self._credits.answered(epoch)

    def acknowledged(self, producer: bytes, through: int) -> None:
        """The producer's messages up to ``through`` are durable."""
        for credit in self._credits.acknowledged(producer, through):
            self.review(credit)

    # --- for sessions -----------------------------------------------------------------------------

    def review(self, credit: Credit) -> None:
        """Notify the account's sessions if what the credit allows has changed."""
        self.floors.review(credit)  # first: who is to wait must not go on before
        allowed = (credit.status, credit.is_near_empty)
        account = credit.account_id
        if account not in self._sessions or self._notified.get(account) == allowed:
            return
        if self._notified.get(account, (CreditStatus.AVAILABLE, False))[0] is not allowed[0]:
            log.info("credit", **whose_balance(account), status=allowed[0].value)
        self._notified[account] = allowed
        # In the next turn of the loop: a session that just metered a response forwards it first.
        self._loop.call_soon(self._notify, account)

    def notify_soon(self, session: SessionCredit) -> None:
        """What only one session may spend has changed: see ``review``."""
        self._loop.call_soon(_notify, session)

    def close_session(self, session: SessionCredit, credit: Credit) -> None:
        """A session has ended."""
        account = credit.account_id
        session.listener = None
        self.floors.leave(session, credit)
        self._credits.close(credit)
        _discard(self._watchers, account, session)
        _discard(self._sessions, account, session)
        if account not in self._sessions:
            self._notified.pop(account, None)
            self._subscriber.unsubscribe(balance_topic(account))

    # --- helpers ----------------------------------------------------------------------------------

    def _attend(self, name: str, session: SessionCredit) -> None:
        """Notify a session of changes of the balance with this name."""
        self._subscriber.subscribe(balance_topic(name), self._announced)
        self._sessions.setdefault(name, set()).add(session)

    def _live_accounts(self) -> int:
        # A copy: the ops thread reads the metrics.
        return sum(key_of_purse(name) is None for name in list(self._sessions))

    def _held_accounts(self) -> int:
        notified = list(self._notified.values())  # a copy: the ops thread reads the metrics
        return sum(status is CreditStatus.ALLOTMENT_SPENT for status, _ in notified)

    def _announced(self, frames: list[bytes]) -> None:
        self._apply([decode_balance(frames)])

    def _apply(self, balances: Iterable[AnnouncedBalance]) -> None:
        for balance in balances:
            self._prices.announced(balance.rates)
            credit = self._credits.announced(balance, now=self._loop.time())
            if credit is None:
                continue
            self._notify_watchers_soon(balance.account_id)
            self.review(credit)

    def _notify_watchers_soon(self, account: str) -> None:
        """Notify them once for all balances that arrive within ``EVENTS_S``."""
        if account in self._watchers and account not in self._notifying:
            self._notifying.add(account)
            self._loop.call_later(EVENTS_S, self._notify_watchers, account)

    def _notify_watchers(self, account: str) -> None:
        self._notifying.discard(account)
        for listener in _listeners(self._watchers, account):
            listener.balance_announced()

    def _notify(self, account: str) -> None:
        for listener in _listeners(self._sessions, account):
            listener.credit_changed()

    async def _ask_when_overdue(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            for credit in self._credits.expired(self._loop.time()):
                self.review(credit)
            overdue = self._credits.overdue(self._loop.time())
            for some in portions(overdue):
                try:
                    answer = await self._accountd.balances(some, self._credits.producers)
                except UnreachableError:
                    break
                self._apply(answer)


def _listeners(
    sessions_by_account: dict[str, set[SessionCredit]], account: str
) -> list[CreditListener]:
    """A copy, because notifying one session may end another."""
    sessions = sessions_by_account.get(account, ())
    return [session.listener for session in sessions if session.listener is not None]


def _notify(session: SessionCredit) -> None:
    if session.listener is not None:
        session.listener.credit_changed()


def _discard(
    sessions_by_account: dict[str, set[SessionCredit]], account: str, session: SessionCredit
) -> None:
    sessions = sessions_by_account.get(account, set())
    sessions.discard(session)
    if not sessions:
        sessions_by_account.pop(account, None)
