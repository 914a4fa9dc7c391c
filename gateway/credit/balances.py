"""Knows what every account that is served here has left, and tells its sessions when that matters.

The rules are in ``credit.credit``. Balances are announced on PUB; what is not heard in time is
asked for over RPC, so that an account cannot outspend a balance that nobody tells us.
"""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

import structlog

from gateway import tasks
from gateway.control.grants import Grant
from gateway.control.rpc_client import RpcClient
from gateway.control.subscriber import Subscriber
from gateway.credit.credit import Credit, CreditStatus
from gateway.credit.credit_table import CreditTable
from gateway.metering.base import RecentIds
from shared.announcements import Balance, balance_topic, decode_balance
from shared.errors import UnreachableError
from shared.metrics import Metric
from shared.rate_card import RateCardError, read_rates
from shared.rates import DEFAULT_RATES
from shared.usage import ESTIMATES, Kind, UsageBatch
from shared.wire import MESSAGE_BYTES_MAX

log = structlog.get_logger()

TICK_S: Final = 0.5
# Clients that watch their credit are told at most so often: fast for an eye, however many commits a
# busy account has.
EVENTS_S: Final = 0.1
# Accounts in one question; accountd answers no more at once.
ASKED_MAX: Final = 1_000
# Their names in one question: half of a message, which with one that is too long costs the
# connection.
ASKED_BYTES_MAX: Final = MESSAGE_BYTES_MAX // 2
_NAME_HEAD_BYTES: Final = 3  # msgpack's, for the longest


class Listener(Protocol):
    """A session that lives on the credit."""

    def credit_changed(self) -> None:
        """What the credit allows is not what it was."""

    def balance_announced(self) -> None:
        """There is a new balance."""


class SessionCredit:
    """One session's hold on its account's credit. ``listener`` is told of changes."""

    __slots__ = ("_balances", "_credit", "listener", "wants_balances")

    def __init__(self, balances: "Balances", credit: Credit, *, wants_balances: bool) -> None:
        self._balances = balances
        self._credit = credit
        self.listener: Listener | None = None
        self.wants_balances = wants_balances

    @property
    def status(self) -> CreditStatus:
        """Whether the session may go on."""
        return self._credit.status

    @property
    def is_near_empty(self) -> bool:
        """Whether every response must be sent at once."""
        return self._credit.is_near_empty

    @property
    def balance(self) -> Balance:
        """What accountd said last."""
        return self._credit.balance

    def spend(self, single: UsageBatch) -> int:
        """One response was metered: what it costs, in nano-credits; nothing when another socket of
        the account has brought it.
        """
        nano = 0 if self._balances.is_repeated(single) else self._balances.price(single)
        self._credit.metered(nano, is_response=single.kind == Kind.RESPONSE)
        self._balances.review(self._credit)
        return nano

    def sealed(self, nano: int, producer: bytes, sequence: int) -> None:
        """So much of what was metered is in the message with this number."""
        self._balances.sealed(self._credit.account_id, nano, producer, sequence)

    def close(self) -> None:
        """The session has ended."""
        self._balances.close_session(self, self._credit)


class Balances:
    """The credit of all accounts that this process serves. ``start`` before use."""

    def __init__(self, subscriber: Subscriber, accountd: RpcClient, *, near_responses: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._subscriber = subscriber
        self._accountd = accountd
        self._credits = CreditTable(near_responses=near_responses)
        self._sessions: dict[str, set[SessionCredit]] = {}
        self._watchers: dict[str, set[SessionCredit]] = {}  # those that want every balance
        self._notifying: set[str] = set()  # accounts whose watchers are about to be told
        # What the sessions of an account were told last.
        self._notified: dict[str, tuple[CreditStatus, bool]] = {}
        self._shared = RecentIds()
        self._rates = DEFAULT_RATES
        self._offered = DEFAULT_RATES.version  # what accountd charges by
        self._wants_rates = asyncio.Event()
        self._wants_rates.set()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to ask for the rate card, and for balances that were not announced in time."""
        self._tasks = [tasks.start(self._ask_when_overdue()), tasks.start(self._keep_rates())]

    async def stop(self) -> None:
        """Ask no more."""
        await tasks.stop(self._tasks)

    def open(self, grant: Grant, *, wants_balances: bool) -> SessionCredit:
        """A session of the account begins; ``wants_balances`` that it is told of each new one."""
        account = grant.account_id
        credit = self._credits.open(
            account, topup=grant.topup_remaining, tokens=grant.token_remaining
        )
        self._subscriber.subscribe(balance_topic(account), self._announced)
        session = SessionCredit(self, credit, wants_balances=wants_balances)
        self._sessions.setdefault(account, set()).add(session)
        if wants_balances:
            self._watchers.setdefault(account, set()).add(session)
        return session

    def metrics(self) -> list[Metric]:
        """The numbers of this part, for ``/metrics``."""
        return [
            Metric(
                "rts_gateway_live_accounts", "gauge", "Accounts that have sessions here.",
                lambda: len(self._sessions),
            ),
            Metric(
                "rts_gateway_held_accounts", "gauge",
                "Accounts whose sessions wait until accountd says what is left.",
                self._held_accounts,
            ),
        ]  # fmt: skip

    # --- usage ------------------------------------------------------------------------------------

    def price(self, single: UsageBatch) -> int:
        """What accountd will charge for it, in nano-credits, before it rounds."""
        return 0 if single.kind in ESTIMATES else self._rates.price(single)

    def is_repeated(self, single: UsageBatch) -> bool:
        """Whether another session of the account has metered the same response; remembers it.

        accountd charges it once. Where another gateway has metered it, its balances say so.
        """
        if not single.is_shared:
            return False
        name = f"{single.account_id} {single.provider} {single.kind} {single.response_ids[0]}"
        return self._shared.is_repeated(name)

    def sealed(self, account_id: str, nano: int, producer: bytes, sequence: int) -> None:
        """What was metered is in the message with this number."""
        self._credits.sealed(account_id, nano, producer, sequence, now=self._loop.time())

    def answered(self, epoch: int) -> None:
        """accountd answers as this boot: what any other one announced counts no more."""
        self._credits.answered(epoch)

    def acknowledged(self, producer: bytes, through: int) -> None:
        """The producer's messages up to ``through`` are durable."""
        for account in self._credits.acknowledged(producer, through):
            self.review(account)

    # --- for sessions -----------------------------------------------------------------------------

    def review(self, credit: Credit) -> None:
        """Tell the account's sessions if the credit allows something else than before."""
        allowed = (credit.status, credit.is_near_empty)
        account = credit.account_id
        if account not in self._sessions or self._notified.get(account) == allowed:
            return
        if self._notified.get(account, (CreditStatus.AVAILABLE, False))[0] is not allowed[0]:
            log.info("credit", account=account, verdict=allowed[0].value)
        self._notified[account] = allowed
        # Not now: whoever meters has yet to forward what it metered.
        self._loop.call_soon(self._notify, account)

    def close_session(self, session: SessionCredit, credit: Credit) -> None:
        """A session has ended."""
        account = credit.account_id
        session.listener = None
        self._credits.close(credit)
        _discard(self._watchers, account, session)
        _discard(self._sessions, account, session)
        if account not in self._sessions:
            self._notified.pop(account, None)
            self._subscriber.unsubscribe(balance_topic(account))

    # --- helpers ----------------------------------------------------------------------------------

    def _held_accounts(self) -> int:
        notified = list(self._notified.values())  # a copy: the ops thread reads the metrics
        return sum(status is CreditStatus.ALLOTMENT_SPENT for status, _ in notified)

    def _announced(self, frames: list[bytes]) -> None:
        self._hear([decode_balance(frames)])

    def _hear(self, balances: Iterable[Balance]) -> None:
        for balance in balances:
            if balance.rates != self._offered:
                self._wants_rates.set()
            credit = self._credits.announced(balance, now=self._loop.time())
            if credit is None:
                continue
            self._notify_watchers_soon(balance.account_id)
            self.review(credit)

    def _notify_watchers_soon(self, account: str) -> None:
        """One event for all balances of a moment: a busy account has a new one in every commit."""
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

    async def _keep_rates(self) -> None:
        """Have the card that accountd charges by; until it is known, the last one counts."""
        while True:
            await self._wants_rates.wait()
            self._wants_rates.clear()
            try:
                self._use(*await self._accountd.rate_card())
            except UnreachableError:
                self._wants_rates.set()
            await asyncio.sleep(TICK_S)

    def _use(self, version: str, text: str) -> None:
        if version == self._offered:
            return
        self._offered = version
        try:
            self._rates = read_rates(text.encode()) if text else DEFAULT_RATES
        except RateCardError as exc:
            hint = f"this gateway is older than accountd; it estimates by {self._rates.version!r}"
            log.error("rate card unreadable", version=version, detail=str(exc), hint=hint)
        else:
            log.info("rate card", version=version, entries=len(self._rates.entries))

    async def _ask_when_overdue(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            for credit in self._credits.settled(self._loop.time()):
                self.review(credit)
            overdue = self._credits.overdue(self._loop.time())
            for some in questions(overdue):
                try:
                    answer = await self._accountd.balances(some, self._credits.producers)
                except UnreachableError:
                    break
                self._hear(answer)


def questions(accounts: Iterable[str]) -> Iterator[list[str]]:
    """``accounts`` as many at a time as may be asked for in one message."""
    some: list[str] = []
    room = ASKED_BYTES_MAX
    for account in accounts:
        size = len(account.encode()) + _NAME_HEAD_BYTES
        if len(some) == ASKED_MAX or size > room:
            yield some
            some, room = [], ASKED_BYTES_MAX
        some.append(account)
        room -= size
    if some:
        yield some


def _listeners(sessions_by_account: dict[str, set[SessionCredit]], account: str) -> list[Listener]:
    """Those who are there now: telling one may end another."""
    sessions = sessions_by_account.get(account, ())
    return [session.listener for session in sessions if session.listener is not None]


def _discard(
    sessions_by_account: dict[str, set[SessionCredit]], account: str, session: SessionCredit
) -> None:
    sessions = sessions_by_account.get(account, set())
    sessions.discard(session)
    if not sessions:
        sessions_by_account.pop(account, None)
