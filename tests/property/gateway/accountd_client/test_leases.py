"""Whatever is lost, and whoever starts anew: accountd counts the sessions that live, and no other.

The messages to accountd arrive in order, or not at all; each answer may be lost.
"""

import itertools

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.accountd_client.lease_book import Lease, LeaseBook, Renewal

KEYS = ("one", "another")


class Counting:
    """accountd, as far as leases go; ``limit`` for each key."""

    limit = 4

    def __init__(self) -> None:
        self.is_known = False
        self.key_by_lease: dict[str, str] = {}

    def authorize(self, key: str, lease: str) -> bool:
        """Whether it may; it is counted then."""
        if list(self.key_by_lease.values()).count(key) >= self.limit:
            return False
        self.key_by_lease[lease] = key
        return True

    def renew(self, renewal: Renewal) -> bool:
        """Whether the gateway was known."""
        was_known, self.is_known = self.is_known, True
        self.key_by_lease |= dict(renewal.held)
        for lease in renewal.released:
            self.key_by_lease.pop(lease, None)
        return was_known


class Leasing(RuleBasedStateMachine):
    """One gateway, whose requests, answers and accountds get lost."""

    def __init__(self) -> None:
        super().__init__()
        self.names = map(str, itertools.count())
        self.book = LeaseBook("gateway")
        self.accountd = Counting()
        self.asking: list[tuple[Lease, bool | None]] = []  # with the answer that is on its way
        self.living: list[Lease] = []
        self.cached: list[Lease] = []  # let in while accountd was away

    @rule(key=st.sampled_from(KEYS), arrives=st.booleans())
    def ask(self, key: str, arrives: bool) -> None:
        """A session is asked for; the request is lost, or answered some time later."""
        lease = Lease(self.book, next(self.names))
        lease.asking(key)
        answer = self.accountd.authorize(key, lease.id) if arrives else None
        self.asking.append((lease, answer))

    @rule(data=st.data(), fate=st.sampled_from(("told", "lost", "cached", "client left")))
    def answer(self, data: st.DataObject, fate: str) -> None:
        """What comes of one that was asked for."""
        if not self.asking:
            return
        lease, answer = self.asking.pop(data.draw(st.integers(0, len(self.asking) - 1)))
        with lease:
            if fate == "told" and answer is not None:
                lease.answered(is_counted=answer)
                if answer:
                    lease.take()
                    self.living.append(lease)
            elif fate == "cached":
                lease.assumed()
                lease.take()
                self.living.append(lease)

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        """A session has no client any more."""
        if self.living:
            self.living.pop(data.draw(st.integers(0, len(self.living) - 1))).give_back()

    @rule(arrives=st.booleans(), is_answered=st.booleans())
    def renew(self, arrives: bool, is_answered: bool) -> None:
        """The gateway tells what it holds."""
        if self.book.is_silent:
            return
        renewal = self.book.next()
        is_known = self.accountd.renew(renewal) if arrives else None
        if is_known is not None and is_answered:
            self.book.answered(renewal, is_known=is_known)
        else:
            self.book.unheard()

    @rule()
    def start_anew(self) -> None:
        """accountd was killed, or has heard nothing for too long."""
        self.accountd = Counting()

    @invariant()
    def nothing_is_released_that_lives(self) -> None:
        """Else another session would have its place."""
        assert not set(self.book.next().released) & {lease.id for lease in self.living}
        assert len(self.book) == len(self.living)

    def teardown(self) -> None:
        """Once accountd answers it counts what lives, and nothing else."""
        for lease, _ in self.asking:
            lease.give_back()
        for _ in range(4):
            renewal = self.book.next()
            self.book.answered(renewal, is_known=self.accountd.renew(renewal))
        assert set(self.accountd.key_by_lease) == {lease.id for lease in self.living}
        assert not self.book.is_urgent


TestLeasing = Leasing.TestCase
TestLeasing.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
