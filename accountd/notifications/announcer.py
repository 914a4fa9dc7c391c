"""Announces on PUB what is durable, and what accounts have left, each under its own topic.

Called by the daemon's loop, after a COMMIT has returned and never before. A lost announcement is
harmless: watermarks are cumulative and those of recent producers are repeated, balances are whole,
and a gateway asks for what it misses.

The socket is an XPUB, which says who listens: a balance is announced to a gateway as soon as it
subscribes, and again to all of them when their number changes, because each spends its allotment.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import zmq

from accountd.ledger.charging import Balance
from accountd.ledger.decision import Charge, Decision
from accountd.ledger.shared_responses import RepeatedResponse
from shared.announcements import (
    AHEAD_MAX,
    AnnouncedBalance,
    Applied,
    Watermark,
    account_of_topic,
    encode_balance,
    encode_watermark,
)

# A gateway that missed an announcement learns it half a second later, before it sends again.
REPEAT_S: Final = 0.5
# A gateway whose usage is unacknowledged sends again within this time and is recent once more.
RECENT_S: Final = 60.0
# Far more gateways than one accountd serves; a round of repetitions then costs about 10 ms.
RECENT_PRODUCERS_MAX: Final = 4_096
# Subscriptions read, and balances announced on request, in one turn of the loop: after a restart
# every account is subscribed anew, and usage must not wait for all of them.
PER_TURN_MAX: Final = 1_000

ReadBalances = Callable[[Iterable[str]], Mapping[str, Balance]]


class Announcer:
    """Publishes watermarks and balances. ``now`` is any clock in s."""

    def __init__(
        self,
        socket: "zmq.Socket[Any]",
        *,
        epoch: int,
        read_balances: ReadBalances,
        rates: Callable[[], str],
    ) -> None:
        """``socket`` is an XPUB; ``read_balances`` reads what is committed, ``rates`` names the
        rate card in force.
        """
        self._socket = socket
        self._epoch = epoch
        self._read_balances = read_balances
        self._rates = rates
        # producer -> (watermark, when it was heard of), the longest silent first
        self._recent: dict[bytes, tuple[int, float]] = {}
        self._repeat_at = 0.0
        self._revision = 0
        self._listeners: dict[str, int] = {}
        self._changed: dict[str, None] = {}  # accounts to announce, in order

    @property
    def accounts(self) -> int:
        """Accounts that gateways listen for."""
        return len(self._listeners)

    # --- usage ------------------------------------------------------------------------------------

    def announce(self, decision: Decision, *, now: float) -> None:
        """Publish what a group has made durable: its balances first, then its watermarks."""
        self._announce_charged(decision)
        if not self._recent:
            self._repeat_at = now + REPEAT_S
        for producer, applied_through in decision.watermarks.items():
            self._recent.pop(producer, None)
            self._recent[producer] = (applied_through, now)
            self._publish_watermark(producer, applied_through)
        while len(self._recent) > RECENT_PRODUCERS_MAX:
            del self._recent[next(iter(self._recent))]

    def repeat(self, *, now: float) -> None:
        """Publish the watermarks of recent producers again, when it is time for that."""
        if now < self._repeat_at:
            return
        self._repeat_at = now + REPEAT_S
        silent = [p for p, (_, heard_at) in self._recent.items() if now - heard_at > RECENT_S]
        for producer in silent:
            del self._recent[producer]
        for producer, (applied_through, _) in self._recent.items():
            self._publish_watermark(producer, applied_through)

    def wait_s(self, *, now: float) -> float | None:
        """How long until there is something to publish; None when there is nothing."""
        if self._changed:
            return 0.0
        return max(0.0, self._repeat_at - now) if self._recent else None

    # --- balances ---------------------------------------------------------------------------------

    def changed(self, accounts: Iterable[str]) -> None:
        """Balances of these accounts were changed by requests."""
        self._changed.update(dict.fromkeys(accounts))

    def rates_changed(self) -> None:
        """Announce all balances again: each names the rate card, which gateways then use."""
        self._changed.update(dict.fromkeys(self._listeners))

    def receive(self) -> None:
        """Read new subscriptions and those that ended."""
        with contextlib.suppress(zmq.Again):
            for _ in range(PER_TURN_MAX):
                self._note(self._socket.recv(zmq.DONTWAIT))

    def announce_changed(self) -> None:
        """Publish the balances that requests have changed, and those of new listeners."""
        if not self._changed:
            return
        names = list(itertools.islice(self._changed, PER_TURN_MAX))
        for name in names:
            del self._changed[name]
        balances = self._read_balances(name for name in names if name in self._listeners)
        for name, buckets in balances.items():
            self._publish_balance(name, buckets, {})

    def balances(
        self, accounts: Iterable[str], applied: Mapping[bytes, Applied]
    ) -> list[AnnouncedBalance]:
        """The balances as they would be announced now, for a gateway that does not hear."""
        read = self._read_balances(accounts)
        return [self._balance(name, buckets, applied) for name, buckets in read.items()]

    # --- helpers ----------------------------------------------------------------------------------

    def _note(self, subscription: bytes) -> None:
        account = account_of_topic(subscription[1:])
        if account is None:
            return
        listeners = self._listeners.get(account, 0) + (1 if subscription[0] else -1)
        if listeners > 0:
            self._listeners[account] = listeners
            self._changed[account] = None
        else:
            self._listeners.pop(account, None)

    def _announce_charged(self, decision: Decision) -> None:
        heard = {name: b for name, b in decision.balances.items() if name in self._listeners}
        if not heard:
            return
        applied = {p: applied_of(w.applied_through, w.ahead) for p, w in decision.windows.items()}
        producers: dict[str, dict[bytes, Applied]] = {}
        messages: list[Charge | RepeatedResponse] = [*decision.charges, *decision.repeated]
        for message in messages:
            account = message.batch.account_id
            if account in heard and message.producer is not None:
                producers.setdefault(account, {})[message.producer] = applied[message.producer]
        for name, buckets in heard.items():
            self._publish_balance(name, buckets, producers.get(name, {}))

    def _balance(
        self, account: str, buckets: Balance, applied: Mapping[bytes, Applied]
    ) -> AnnouncedBalance:
        self._revision += 1
        return AnnouncedBalance(
            account, self._epoch, self._revision, buckets.topup, buckets.tokens,
            gateways=max(1, self._listeners.get(account, 0)), rates=self._rates(), applied=applied,
        )  # fmt: skip

    def _publish_balance(
        self, account: str, buckets: Balance, applied: Mapping[bytes, Applied]
    ) -> None:
        self._publish(encode_balance(self._balance(account, buckets, applied)))

    def _publish_watermark(self, producer: bytes, applied_through: int) -> None:
        self._publish(encode_watermark(Watermark(producer, self._epoch, applied_through)))

    def _publish(self, frames: list[bytes]) -> None:
        # Dropped for a subscriber that does not read; it asks, or hears the next one.
        with contextlib.suppress(zmq.Again):
            self._socket.send_multipart(frames, zmq.DONTWAIT)


def applied_of(through: int, ahead: Iterable[int]) -> Applied:
    """How far a producer was applied, as it is announced: the lowest ``AHEAD_MAX`` beyond."""
    return Applied(through, frozenset(sorted(ahead)[:AHEAD_MAX]))
