"""Sessions with several purses: which of them decides, and who hears of it."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.accountd_client.authorizations import Authorization
from gateway.credit.balances import Balances, SessionCredit
from gateway.credit.credit import CreditStatus
from gateway.credit.limited_credit import LimitedCredit, open_credit
from gateway.credit.purses import Purse
from shared.announcements import AnnouncedBalance, Applied, encode_balance, purse_of_key
from shared.limits import SessionLimits
from shared.usage import Kind, Usage, UsageBatch

P = b"p" * 16
KEY = "f" * 64
AVAILABLE, EXHAUSTED = CreditStatus.AVAILABLE, CreditStatus.EXHAUSTED


class Subscriber:
    """Notes what is listened for, and hands on what the test announces."""

    def __init__(self) -> None:
        self.topics: dict[bytes, Any] = {}

    def subscribe(self, topic: bytes, listener: Any) -> None:
        """A gateway begins to listen."""
        self.topics[topic] = listener

    def unsubscribe(self, topic: bytes) -> None:
        """It listens no more."""
        del self.topics[topic]

    def announce(self, name: str, credits_: int, *, through: int) -> None:
        """accountd says what is left, all messages up to ``through`` included."""
        applied = {P: Applied(through)} if through else {}
        balance = AnnouncedBalance(name, 7, through + 1, 0, credits_, applied=applied)
        (frame,) = encode_balance(balance)
        self.topics[frame[: frame.index(b"\0") + 1]]([frame])


class Listener:
    """A session that notes when it is notified."""

    def __init__(self, credit: SessionCredit) -> None:
        self.credit = credit
        self.heard: list[tuple[CreditStatus, Purse]] = []
        credit.listener = self

    def credit_changed(self) -> None:
        """What it may do has changed."""
        self.heard.append((self.credit.status, self.credit.used_up))

    def balance_announced(self) -> None:
        """It does not watch."""

    def floor_changed(self) -> None:
        """It always has something to say."""
        if not self.credit.has_floor:
            self.credit.ask_for_floor()

    @property
    def recorder(self) -> Any:
        """It has no response under way."""
        return SimpleNamespace(
            streaming=frozenset(), is_asked=False, is_continuous=False, may_answer=False
        )


@pytest.fixture
def subscriber() -> Subscriber:
    """The announcements."""
    return Subscriber()


@pytest.fixture
async def balances(subscriber: Subscriber) -> Balances:
    """The credit of a gateway that asks nobody."""
    return Balances(cast(Any, subscriber), cast(Any, None), near_responses=0, typical_credits=0)


def allowed(key: str = KEY, *, left: int | None = None, **limits: int) -> Authorization:
    """An account with 1,000 credits; ``left`` of the cap of the key."""
    return Authorization(
        "acct", "k", 1_000, 0, key, limits=SessionLimits(**limits), spending_left=left
    )


def opened(balances: Balances, authorization: Authorization) -> Listener:
    """A session."""
    return Listener(open_credit(balances, authorization, wants_balances=False))


def response(tokens: int, kind: Kind = Kind.RESPONSE) -> UsageBatch:
    """One that costs so many credits, unless it is an estimate."""
    return UsageBatch("acct", "s", "openai", "m", kind, 1, ("r",), Usage(tokens, 0, tokens), 0)


async def turn() -> None:
    """Sessions are notified in the next turn of the loop."""
    await asyncio.sleep(0)


async def test_who_has_no_limits_has_one_purse(balances: Balances, subscriber: Subscriber) -> None:
    """And what it has weighs nothing more."""
    session = opened(balances, allowed())
    assert type(session.credit) is SessionCredit
    assert session.credit.used_up is Purse.CREDIT
    assert list(subscriber.topics) == [b"Bacct\0"]


PURSES = [
    # what the cap had left, limits of the session; what 60 and 40 tokens leave and use up
    (100, {}, Purse.SPENDING),
    (101, {"session_tokens": 100}, Purse.SESSION_TOKENS),
    (None, {"session_credits": 100}, Purse.SESSION_CREDITS),
    (100, {"session_tokens": 100, "session_credits": 100}, Purse.SPENDING),
]


@pytest.mark.parametrize(("left", "limits", "purse"), PURSES)
async def test_the_tightest_purse_ends_the_session_and_says_so(
    balances: Balances, left: int | None, limits: dict[str, int], purse: Purse
) -> None:
    """Once, when it is used up."""
    session = opened(balances, allowed(left=left, **limits))
    session.credit.spend(response(60))
    await turn()
    assert session.credit.status is AVAILABLE
    session.credit.spend(response(40))
    await turn()
    assert (session.credit.status, session.credit.used_up) == (EXHAUSTED, purse)
    assert session.heard[-1] == (EXHAUSTED, purse)


async def test_the_account_comes_first(balances: Balances) -> None:
    """Where it is used up as well, a higher cap would not help."""
    session = opened(balances, allowed(left=900, session_tokens=900))
    session.credit.spend(response(1_000))
    assert session.credit.used_up is Purse.CREDIT


async def test_a_cap_is_shared_by_the_sessions_of_the_key_alone(balances: Balances) -> None:
    """Another key of the account goes on."""
    one, two = opened(balances, allowed(left=100)), opened(balances, allowed(left=100))
    other = opened(balances, allowed("other", left=100))
    free = opened(balances, allowed("free"))
    one.credit.spend(response(100))
    await turn()
    assert one.heard[-1] == two.heard[-1] == (EXHAUSTED, Purse.SPENDING)
    assert [s.credit.status for s in (other, free)] == [AVAILABLE, AVAILABLE]
    assert EXHAUSTED not in [status for status, _ in other.heard + free.heard]


async def test_an_estimate_uses_nothing_of_a_session(balances: Balances) -> None:
    """Nobody has reported it, and it may not be charged."""
    session = opened(balances, allowed(session_tokens=10, session_credits=10))
    session.credit.spend(response(1_000, Kind.ESTIMATE))
    assert session.credit.status is AVAILABLE


async def test_a_session_whose_time_is_over_is_told(balances: Balances) -> None:
    """Not before, and not once it has ended."""
    session = opened(balances, allowed(session_s=60))
    ended = opened(balances, allowed(session_s=0))
    ended.credit.close()
    over = opened(balances, allowed(session_s=0))
    await until_heard(over)
    assert over.heard == [(EXHAUSTED, Purse.SESSION_LENGTH)]
    assert (session.credit.status, session.heard, ended.heard) == (AVAILABLE, [], [])


async def until_heard(session: Listener) -> None:
    """Wait until it is notified."""
    async with asyncio.timeout(10):
        while not session.heard:
            await turn()


async def test_what_is_announced_of_a_cap_counts(
    balances: Balances, subscriber: Subscriber
) -> None:
    """What other gateways have spent, and a new period; what is under way is counted once."""
    session = opened(balances, allowed(left=100))
    credit = session.credit
    purse = purse_of_key(KEY)
    subscriber.announce(purse, 90, through=0)
    nano = credit.spend(response(60))
    credit.sealed(nano, P, 1)
    subscriber.announce(purse, 30, through=1)
    assert credit.status is AVAILABLE
    subscriber.announce(purse, 0, through=2)
    await turn()
    assert session.heard[-1] == (EXHAUSTED, Purse.SPENDING)
    subscriber.announce(purse, 100, through=3)
    assert credit.status is AVAILABLE


async def test_nothing_is_left_of_a_session_that_has_ended(
    balances: Balances, subscriber: Subscriber
) -> None:
    """Not of its purses, and nobody is notified; a cap that has unsent usage is kept for it."""
    session = opened(balances, allowed(left=100, session_tokens=5))
    assert list(subscriber.topics) == [b"Bacct\0", b"B\1" + KEY.encode() + b"\0"]
    nano = session.credit.spend(response(60))
    session.credit.close()
    await turn()
    assert session.heard == []
    assert subscriber.topics == {}
    again = opened(balances, allowed(left=100)).credit
    assert isinstance(again, LimitedCredit)
    assert [seat.cap.left for seat in again.seats] == [100 * 10**9 - nano]


async def test_a_purse_is_no_account_in_the_metrics(balances: Balances) -> None:
    """Sessions of two accounts, one of which has a key with a cap."""
    opened(balances, allowed(left=100))
    (live,) = [m for m in balances.metrics() if m.name == "rts_gateway_live_accounts"]
    assert live.read() == 1


def turning(subscriber: Subscriber) -> Balances:
    """A gateway by which a response costs 100 credits, and sessions take turns."""
    anybody = cast(Any, None)
    return Balances(cast(Any, subscriber), anybody, near_responses=0, typical_credits=100)


async def turn_of_the_loop() -> None:
    """What was put off until then has happened."""
    for _ in range(3):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("credits_", "caps", "expected"),
    [
        (10_000, (10_000, 10_000), "+++"),
        (10_000, (199, 199), "+-+"),  # of the first key one at a time
        (199, (10_000, 10_000), "+--"),  # of the account
        (250, (199, 199), "+-+"),
        (250, (10_000, 199), "++-"),
    ],
)
async def test_whose_turn_it_is_by_credit_and_cap(
    subscriber: Subscriber, credits_: int, caps: tuple[int, int], expected: str
) -> None:
    """Two sessions of one key, and one of another: who may ask has the floor of both."""
    balances = turning(subscriber)
    found = [
        open_credit(
            balances,
            Authorization("a", "k", credits_, 0, key_hash=key * 64, spending_left=left),
            wants_balances=False,
        )
        for key, left in (("e", caps[0]), ("e", caps[0]), ("f", caps[1]))
    ]
    listeners = [Listener(credit) for credit in found]
    for credit in found:
        credit.ask_for_floor()
    await turn_of_the_loop()
    assert "".join("+" if credit.has_floor else "-" for credit in found) == expected
    assert any(credit.is_crowded for credit in found) == ("-" in expected)
    for credit in found[:2]:
        credit.leave_floor()
    await turn_of_the_loop()
    assert found[2].has_floor
    assert balances.floors.crowded == 0
    for credit in found:
        credit.close()
    assert len(listeners) == len(found)
    balances.floors.stop()


async def test_an_answer_gives_both_floors_back(subscriber: Subscriber) -> None:
    """The next one is asked when the cap still pays it."""
    balances = turning(subscriber)
    listeners = [opened(balances, allowed(left=150)) for _ in range(2)]
    first, second = (listener.credit for listener in listeners)
    for credit in (first, second):
        credit.ask_for_floor()
    await turn_of_the_loop()
    assert (first.has_floor, second.has_floor) == (True, False)
    first.spend(response(20))
    await turn_of_the_loop()
    assert (first.has_floor, second.has_floor) == (False, True)
    balances.floors.stop()
