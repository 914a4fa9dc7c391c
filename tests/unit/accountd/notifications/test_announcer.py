"""Who hears what when; the socket records, the clock is a number."""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
import zmq
from msgspec.structs import replace

from accountd.ledger.cascade import Deduction
from accountd.ledger.charging import Balance
from accountd.ledger.decision_types import Charge, Decision
from accountd.ledger.shared_responses import RepeatedResponse
from accountd.ledger.windows import ProducerWindow
from accountd.notifications.announcer import (
    PER_TURN_MAX,
    RECENT_PRODUCERS_MAX,
    RECENT_S,
    REPEAT_S,
    Announcer,
)
from shared.announcements import (
    AnnouncedBalance,
    Applied,
    Watermark,
    balance_topic,
    decode_balance,
    decode_watermark,
    purse_of_key,
)
from shared.usage import Usage, UsageBatch

EPOCH = 7
P, Q = b"p" * 16, b"q" * 16


class Recorder:
    """An XPUB socket that remembers; ``is_full`` makes it refuse like one at its high-water mark.

    What ``subscriptions`` holds it will say when it is read.
    """

    def __init__(self) -> None:
        self.sent: list[Watermark | AnnouncedBalance] = []
        self.subscriptions: deque[bytes] = deque()
        self.is_full = False

    def send_multipart(self, frames: list[bytes], flags: int) -> None:
        """Take one announcement, without waiting."""
        assert flags == zmq.DONTWAIT
        if self.is_full:
            raise zmq.Again
        is_balance = frames[0].startswith(b"B")
        self.sent.append(decode_balance(frames) if is_balance else decode_watermark(frames))

    def send(self, frame: bytes, flags: int) -> None:
        """Take an announcement of one frame, without waiting."""
        self.send_multipart([frame], flags)

    def recv(self, flags: int) -> bytes:
        """The next subscription, without waiting."""
        assert flags == zmq.DONTWAIT
        if not self.subscriptions:
            raise zmq.Again
        return self.subscriptions.popleft()

    def subscribe(self, *accounts: str) -> None:
        """A gateway begins to listen."""
        self.subscriptions += [b"\x01" + balance_topic(account) for account in accounts]

    def unsubscribe(self, account: str) -> None:
        """A gateway listens no more, or is gone."""
        self.subscriptions.append(b"\x00" + balance_topic(account))

    def take(self) -> list[tuple[bytes, int]]:
        """Producer and watermark of what was sent since the last call."""
        taken, self.sent = self.sent, []
        assert all(w.epoch == EPOCH for w in taken)
        return [(w.producer, w.applied_through) for w in taken if isinstance(w, Watermark)]

    def take_all(self) -> list[Watermark | AnnouncedBalance]:
        """Everything that was sent since the last call, in order."""
        taken, self.sent = self.sent, []
        return taken


@pytest.fixture
def socket() -> Recorder:
    """The recording socket."""
    return Recorder()


@pytest.fixture
def stored() -> dict[str, Balance]:
    """What is committed."""
    return {"a": Balance(10, 5), "ab": Balance(0, 7)}


@pytest.fixture
def announcer(socket: Recorder, stored: Mapping[str, Balance]) -> Announcer:
    """An announcer of epoch 7."""
    recorder: Any = socket

    def read(names: Iterable[str]) -> dict[str, Balance]:
        return {name: stored[name] for name in names if name in stored}

    return Announcer(recorder, epoch=EPOCH, read_balances=read, rates=lambda: "card")


def durable(watermarks: Mapping[bytes, int]) -> Decision:
    """A group that made so much durable."""
    return Decision("now", watermarks=dict(watermarks))


def charged(account: str, producer: bytes, window: ProducerWindow, left: Balance) -> Decision:
    """A group with one charge."""
    batch = UsageBatch(account, "s", "openai", "m", "response", 1, ("r",), Usage(1, 0, 1), 0)
    return Decision(
        "now",
        charges=[Charge(producer, window.applied_through, batch, Deduction(1, 0), "card")],
        balances={account: left},
        windows={producer: window},
        watermarks={producer: window.applied_through},
    )


def test_every_producer_of_a_group_is_announced(announcer: Announcer, socket: Recorder) -> None:
    """At once, whether the watermark moved or not."""
    announcer.announce(durable({P: 1, Q: 5}), now=0)
    announcer.announce(durable({P: 1}), now=0.1)
    assert socket.take() == [(P, 1), (Q, 5), (P, 1)]


def test_what_repeats_a_charge_is_announced_as_applied(
    announcer: Announcer, socket: Recorder
) -> None:
    """The balance has not changed; but the gateway that sent it counts it as spent until then."""
    socket.subscribe("a")
    announcer.receive()
    announcer.announce_changed()
    socket.take_all()
    batch = UsageBatch("a", "s", "openai", "m", "response", 1, ("r",), Usage(), 0, is_shared=True)
    window = ProducerWindow(3)
    decision = Decision(
        "now",
        repeated=[RepeatedResponse(P, 3, 0, batch)],
        balances={"a": Balance(10, 5)},
        windows={P: window},
        watermarks={P: 3},
    )
    announcer.announce(decision, now=0)
    balance, _ = socket.take_all()
    assert isinstance(balance, AnnouncedBalance)
    assert (balance.topup, balance.applied[P].through) == (10, 3)


def test_recent_watermarks_are_repeated(announcer: Announcer, socket: Recorder) -> None:
    """The newest of each producer, twice a second, until the producer is silent for a minute."""
    announcer.announce(durable({P: 1}), now=0)
    announcer.announce(durable({P: 2}), now=0.2)
    socket.take()
    announcer.repeat(now=REPEAT_S - 0.01)
    assert socket.take() == []
    announcer.repeat(now=REPEAT_S)
    assert socket.take() == [(P, 2)]
    announcer.repeat(now=REPEAT_S + 0.01)
    assert socket.take() == []
    announcer.announce(durable({Q: 9}), now=RECENT_S)
    socket.take()
    announcer.repeat(now=RECENT_S + 0.3)
    assert socket.take() == [(Q, 9)]


def test_it_says_how_long_to_wait(announcer: Announcer) -> None:
    """The poll sleeps until the next repetition, and as long as it likes when nobody is recent."""
    assert announcer.wait_s(now=0) is None
    announcer.announce(durable({P: 1}), now=10)
    assert announcer.wait_s(now=10.1) == pytest.approx(REPEAT_S - 0.1)
    assert announcer.wait_s(now=99) == 0
    announcer.repeat(now=99)
    assert announcer.wait_s(now=99) is None


def test_the_number_of_repetitions_is_bounded(announcer: Announcer, socket: Recorder) -> None:
    """The longest silent producers are left out; everybody is still announced once."""
    many = [n.to_bytes(16, "big") for n in range(RECENT_PRODUCERS_MAX + 2)]
    announcer.announce(durable(dict.fromkeys(many, 1)), now=0)
    assert len(socket.take()) == len(many)
    announcer.announce(durable({many[2]: 2}), now=0.1)
    socket.take()
    announcer.repeat(now=1)
    assert [p for p, _ in socket.take()] == [*many[3:], many[2]]


def test_a_subscriber_that_does_not_read_holds_nobody_up(
    announcer: Announcer, socket: Recorder
) -> None:
    """What PUB refuses is said again later."""
    socket.is_full = True
    announcer.announce(durable({P: 1}), now=0)
    socket.is_full = False
    announcer.repeat(now=1)
    assert socket.take() == [(P, 1)]


# --- balances ------------------------------------------------------------------------------------


def test_whoever_begins_to_listen_is_told_at_once(announcer: Announcer, socket: Recorder) -> None:
    """A gateway needs not ask, and nobody else's account is announced."""
    socket.subscribe("a")
    announcer.receive()
    assert announcer.wait_s(now=0) == 0
    announcer.announce_changed()
    assert socket.take_all() == [AnnouncedBalance("a", EPOCH, 1, 10, 5, gateways=1, rates="card")]
    assert announcer.wait_s(now=0) is None


def test_the_listeners_are_counted_and_hear_of_each_other(
    announcer: Announcer, socket: Recorder
) -> None:
    """Each spends its allotment: one that comes or goes changes that of the others."""
    for expected in (1, 2, 3):
        socket.subscribe("a")
        announcer.receive()
        announcer.announce_changed()
        assert [b.gateways for b in socket.take_all() if isinstance(b, AnnouncedBalance)] == [
            expected
        ]
    socket.unsubscribe("a")
    announcer.receive()
    announcer.announce_changed()
    assert [b.gateways for b in socket.take_all() if isinstance(b, AnnouncedBalance)] == [2]
    socket.unsubscribe("a")
    socket.unsubscribe("a")
    announcer.receive()
    announcer.announce_changed()
    assert socket.take_all() == []
    assert announcer.accounts == 0


def test_a_charge_announces_what_it_left_before_its_watermark(
    announcer: Announcer, socket: Recorder
) -> None:
    """With what of the producer is in it, beyond the watermark too."""
    socket.subscribe("a")
    announcer.receive()
    announcer.announce_changed()
    socket.take_all()
    announcer.announce(charged("a", P, ProducerWindow(3, [5, 8]), Balance(9, 5)), now=0)
    announcer.announce(charged("ab", Q, ProducerWindow(1), Balance(0, 6)), now=0)
    assert socket.take_all() == [
        AnnouncedBalance(
            "a", EPOCH, 2, 9, 5, rates="card", applied={P: Applied(3, frozenset({5, 8}))}
        ),
        Watermark(P, EPOCH, 3),
        Watermark(Q, EPOCH, 1),  # nobody listens for the other account
    ]


def test_what_requests_change_is_announced_to_those_who_listen(
    announcer: Announcer, socket: Recorder, stored: dict[str, Balance]
) -> None:
    """A top-up reaches live sessions; an account without any costs nothing."""
    socket.subscribe("ab")
    announcer.receive()
    announcer.announce_changed()
    socket.take_all()
    stored["a"] = stored["ab"] = Balance(100, 0)
    announcer.changed(["a", "ab", "unknown"])
    announcer.announce_changed()
    assert socket.take_all() == [AnnouncedBalance("ab", EPOCH, 2, 100, 0, rates="card")]


def test_another_rate_card_is_told_to_all_who_listen(
    announcer: Announcer, socket: Recorder
) -> None:
    """With their balances, as everything about accounts."""
    socket.subscribe("a", "ab")
    announcer.receive()
    announcer.announce_changed()
    socket.take_all()
    announcer.rates_changed()
    announcer.announce_changed()
    assert [b.account_id for b in socket.take_all() if isinstance(b, AnnouncedBalance)] == [
        "a",
        "ab",
    ]
    announcer.announce_changed()
    assert socket.take_all() == []


def test_a_storm_of_subscriptions_is_served_in_turns(
    announcer: Announcer, socket: Recorder, stored: dict[str, Balance]
) -> None:
    """After a restart usage is applied between them."""
    names = [f"account-{n}" for n in range(PER_TURN_MAX + 1)]
    stored.update(dict.fromkeys(names, Balance(1, 1)))
    socket.subscribe(*names)
    announcer.receive()
    announcer.announce_changed()
    assert len(socket.take_all()) == PER_TURN_MAX
    announcer.receive()
    announcer.announce_changed()
    assert len(socket.take_all()) == 1


def test_other_topics_are_nobody_s_balance(announcer: Announcer, socket: Recorder) -> None:
    """Watermarks are subscribed to as well; odd bytes are no account."""
    socket.subscriptions += [b"\x01W" + P, b"\x01", b"\x01B\xff\x00", b"\x00Bnobody\x00"]
    announcer.receive()
    announcer.announce_changed()
    assert socket.take_all() == []
    assert announcer.accounts == 0


PURSE = purse_of_key("f" * 64)


def test_what_a_key_may_spend_is_announced_beside_its_account(
    announcer: Announcer, socket: Recorder, stored: dict[str, Balance]
) -> None:
    """With what was applied, to whom it concerns; of other keys nothing is said."""
    stored |= {PURSE: Balance(0, 70), purse_of_key("other"): Balance(0, 1)}
    socket.subscribe("a", PURSE)
    announcer.receive()
    announcer.announce_changed()
    socket.take_all()
    decision = charged("a", P, ProducerWindow(3), Balance(9, 5))
    for key in ("f" * 64, "other", ""):
        batch = replace(decision.charges[0].batch, key_hash=key)
        decision.charges.append(Charge(P, 3, batch, Deduction(1, 0), "card"))
    announcer.announce(decision, now=0)
    balances = [b for b in socket.take_all() if isinstance(b, AnnouncedBalance)]
    assert {b.account_id: (b.credits, dict(b.applied)) for b in balances} == {
        "a": (14, {P: Applied(3)}),
        PURSE: (70, {P: Applied(3)}),
    }
    assert announcer.accounts == 1


def test_another_day_is_announced_to_who_listens_for_keys(
    announcer: Announcer, socket: Recorder, stored: dict[str, Balance]
) -> None:
    """Once a day, also where the clock went back; accounts do not change by it."""
    stored[PURSE] = Balance(0, 70)
    socket.subscribe("a", PURSE)
    announcer.begin_day(20_000)
    announcer.receive()
    announcer.announce_changed()
    socket.take_all()
    heard = []
    for day in (20_000, 20_001, 20_001, 20_000):
        announcer.begin_day(day)
        announcer.announce_changed()
        heard.append([b.account_id for b in socket.take_all() if isinstance(b, AnnouncedBalance)])
    assert heard == [[], [PURSE], [], [PURSE]]
