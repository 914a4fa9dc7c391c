"""Many sessions on several gateways spend one balance: by how much can they overshoot?

accountd is a number here. An announcement reaches all gateways or none, and accountd dies between a
commit and its announcement; then the gateways reconnect to the next one by one, each with what it
metered meanwhile. Whatever happens, nothing is started once the credit has ended, so an account
overshoots by no more than one response of each of its sessions.
"""

import random
from dataclasses import dataclass, field
from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.credit.allotments import LATE_S, RECONNECT_S
from gateway.credit.credit import CreditStatus
from gateway.credit.credit_table import CreditTable
from shared.announcements import AnnouncedBalance, Applied
from shared.rates import NANO_PER_CREDIT

COST_MAX = 20
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from([*["talk"] * 12, *["commit"] * 3, "return", "answer", "die", "top up"]),
        st.integers(0, 9),
        st.integers(0, COST_MAX),
    ),
    min_size=60,
    max_size=250,
)


@dataclass
class Gateway:
    """A real table of credits, and the messages that accountd has not applied."""

    producer: bytes
    sessions: int
    waiting: dict[int, int] = field(default_factory=dict)
    sent: int = 0
    is_away: bool = False
    credits: CreditTable = field(default_factory=lambda: CreditTable(near_responses=10))

    def __post_init__(self) -> None:
        for _ in range(self.sessions):
            self.credit = self.credits.open("a", topup=0, tokens=0)
        self.busy = [False] * self.sessions

    def talk(self, session: int, cost: int) -> None:
        """A response ends, or one begins if it may."""
        if self.busy[session]:
            self.finish(session, cost)
        else:
            self.busy[session] = self.credit.status is CreditStatus.AVAILABLE

    def hear_answer(self) -> None:
        """accountd says how far our messages are durable."""
        through = min(self.waiting, default=self.sent + 1) - 1
        self.credits.acknowledged(self.producer, through)

    def finish(self, session: int, cost: int) -> None:
        """A response ends: it is metered and sent."""
        self.busy[session] = False
        self.sent += 1
        self.waiting[self.sent] = cost
        self.credit.metered(cost * NANO_PER_CREDIT, is_response=True)
        self.credits.sealed("a", cost * NANO_PER_CREDIT, self.producer, self.sent, now=0.0)


@dataclass
class World:
    """The balance at accountd, and the gateways that spend it."""

    gateways: list[Gateway]
    left: int
    epoch: int = 1
    revision: int = 0
    now: float = 0.0

    def act(self, action: str, gateway: Gateway, amount: int) -> None:
        """Anything but a response: a commit, a top-up, a death, a return."""
        if action == "top up":
            self.left += amount
            self.announce({})
        elif action == "return":
            if gateway.is_away:
                self.come_back(gateway)
        else:
            applied = self.commit(gateway, amount % 5)
            if action == "commit":
                self.announce(applied)
            elif action == "die":  # before anybody hears of it
                self.die()
            elif not gateway.is_away:  # it is asked while announcements are not heard
                gateway.hear_answer()

    def announce(self, applied: dict[bytes, Applied]) -> None:
        """Announce the balance to all connected gateways."""
        self.revision += 1
        present = [gateway for gateway in self.gateways if not gateway.is_away]
        balance = AnnouncedBalance(
            "a", self.epoch, self.revision, self.left, 0, gateways=max(1, len(present)),
            applied=applied,
        )  # fmt: skip
        for gateway in present:
            self.send(gateway, balance)

    def send(self, gateway: Gateway, balance: AnnouncedBalance) -> None:
        """It arrives at once."""
        gateway.credits.announced(balance, now=self.now)

    def commit(self, gateway: Gateway, at_most: int) -> dict[bytes, Applied]:
        """Apply some messages, the newest first: sequences need not come in order."""
        at_most = 0 if gateway.is_away else at_most
        for sequence in sorted(gateway.waiting, reverse=True)[:at_most]:
            self.left -= gateway.waiting.pop(sequence)
        applied = frozenset(range(1, gateway.sent + 1)) - gateway.waiting.keys()
        return {gateway.producer: Applied(0, applied)}

    def die(self) -> None:
        """accountd dies, and every gateway loses its connection."""
        self.epoch, self.revision = self.epoch + 1, 0
        for gateway in self.gateways:
            gateway.is_away = True

    def come_back(self, gateway: Gateway) -> None:
        """What is durable is announced by the balance and by a watermark; what is not, sent again.

        When the last one is back all may spend their allotment of what is left.
        """
        gateway.is_away = False
        self.announce({})
        gateway.hear_answer()
        self.announce(self.commit(gateway, len(gateway.waiting)))
        if not any(one.is_away for one in self.gateways):
            self.now += RECONNECT_S
            for one in self.gateways:
                one.credits.expired(self.now)

    @property
    def sessions(self) -> int:
        """How many sessions all gateways have."""
        return sum(gateway.sessions for gateway in self.gateways)

    def finish_all(self) -> None:
        """Every response in progress ends, at the highest cost."""
        for gateway in self.gateways:
            for session in range(gateway.sessions):
                if gateway.busy[session]:
                    gateway.finish(session, COST_MAX)

    @property
    def overshoot(self) -> int:
        """By how much more was metered than the account had."""
        return sum(sum(gateway.waiting.values()) for gateway in self.gateways) - self.left


@dataclass
class LateWorld(World):
    """Every gateway receives every announcement in order, each at its own pace.

    A message is applied within half of ``LATE_S``, and its balance arrives within another half.
    """

    coming: dict[bytes, list[tuple[float, AnnouncedBalance]]] = field(default_factory=dict)
    sent_at: dict[tuple[bytes, int], float] = field(default_factory=dict)

    def send(self, gateway: Gateway, balance: AnnouncedBalance) -> None:
        """It is in flight to the gateway."""
        self.coming.setdefault(gateway.producer, []).append((self.now, balance))

    def hear(self, gateway: Gateway, *, sent_until: float = inf) -> None:
        """The gateway receives what was announced until ``sent_until``."""
        coming = self.coming.get(gateway.producer, [])
        while coming and coming[0][0] <= sent_until:
            gateway.credits.announced(coming.pop(0)[1], now=self.now)

    def go_on(self, seconds: float) -> None:
        """Time passes."""
        for gateway in self.gateways:
            for sequence in gateway.waiting:
                self.sent_at.setdefault((gateway.producer, sequence), self.now)
        self.now += seconds
        for gateway in self.gateways:
            sent_at = [self.sent_at[gateway.producer, one] for one in gateway.waiting]
            if min(sent_at, default=self.now) < self.now - LATE_S / 2:
                self.announce(self.commit(gateway, len(gateway.waiting)))
        for gateway in self.gateways:
            self.hear(gateway, sent_until=self.now - LATE_S / 2)
            gateway.credits.expired(self.now)


@settings(max_examples=400)
@given(
    opening=st.integers(1, 500),
    sizes=st.lists(st.integers(1, 2), min_size=1, max_size=4),
    actions=ACTIONS,
)
def test_an_account_overshoots_by_one_response_of_each_session_at_most(
    opening: int, sizes: list[int], actions: list[tuple[str, int, int]]
) -> None:
    """A session starts a response only while the real ``CreditStatus`` is AVAILABLE."""
    gateways = [Gateway(bytes([n]) * 16, sessions) for n, sessions in enumerate(sizes)]
    world = World(gateways, opening)
    world.announce({})
    for action, who, amount in actions:
        gateway = gateways[who % len(gateways)]
        if action == "talk":
            gateway.talk(who % gateway.sessions, amount)
        else:
            world.act(action, gateway, amount)
    world.finish_all()
    assert world.overshoot <= COST_MAX * world.sessions


@settings(max_examples=400)
@given(seed=st.integers(0, 2**32))
def test_late_announcements_change_nothing(seed: int) -> None:
    """A gateway with a new allotment may not spend what others may still spend by their old ones.

    Of allotments that are renewed by every announcement one world in five overshoots.
    """
    chance = random.Random(seed)
    sizes = [chance.randint(1, 3) for _ in range(chance.randint(2, 4))]
    gateways = [Gateway(bytes([n]) * 16, sessions) for n, sessions in enumerate(sizes)]
    world = LateWorld(gateways, chance.randint(1, 600))
    world.announce({})
    for gateway in gateways:
        world.hear(gateway)
    late = chance.choice(gateways)
    for _ in range(400):
        world.go_on(chance.random() * LATE_S / 10)
        gateway = chance.choice(gateways)
        if chance.random() < 0.75:
            gateway.talk(chance.randrange(gateway.sessions), COST_MAX)
        else:
            world.act("commit", gateway, chance.randint(1, 4))
        for other in gateways:
            if other is not late:
                world.hear(other)
    world.finish_all()
    assert world.overshoot <= COST_MAX * world.sessions


@settings(max_examples=400)
@given(
    opening=st.integers(1, 500),
    actions=st.lists(
        st.tuples(
            st.sampled_from(["talk", "commit", "commit unheard", "watermark", "top up"]),
            st.integers(0, COST_MAX),
        ),
        max_size=30,
    ),
)
def test_no_session_is_ended_while_its_account_has_credit(
    opening: int, actions: list[tuple[str, int]]
) -> None:
    """Whatever announcement is lost: a session may wait, but is not ended."""
    gateway = Gateway(b"p" * 16, 1)
    world = World([gateway], opening)
    world.announce({})
    for action, amount in actions:
        if action == "talk":
            gateway.finish(0, amount)
        elif action == "watermark":
            through = min(gateway.waiting, default=gateway.sent + 1) - 1
            gateway.credits.acknowledged(gateway.producer, through)
        elif action == "top up":
            world.left += amount
            world.announce({})
        else:
            applied = world.commit(gateway, 1 + amount % 5)
            if action == "commit":
                world.announce(applied)
        assert gateway.credit.status is not CreditStatus.EXHAUSTED or world.overshoot >= 0


@given(opening=st.integers(1, 500), costs=st.lists(st.integers(0, COST_MAX), max_size=30))
def test_no_credit_is_left_over(opening: int, costs: list[int]) -> None:
    """A session on its own is not ended while anything is left."""
    gateway = Gateway(b"p" * 16, 1)
    world = World([gateway], opening)
    world.announce({})
    for cost in costs:
        assert (gateway.credit.status is CreditStatus.AVAILABLE) is (world.overshoot < 0)
        gateway.finish(0, cost)
        if cost % 2:
            world.announce(world.commit(gateway, 9))
