"""Announces watermarks of producers, balances of accounts and recalls, each under its own topic.

Called by the daemon's loop, after a COMMIT has returned and never before. A lost announcement is
harmless: a watermark covers all earlier ones and is repeated for a minute, an announcement of a
balance holds the whole balance, and a gateway requests an announcement that is overdue.

The socket is an XPUB, which receives the subscriptions. A gateway that subscribes to an account
gets its balance at once. When the number of an account's subscribers changes, all of them get it
again, because each gateway's allotment is the balance divided by that number.

What a key with a spending cap may still spend is a balance, too, under a name of its own
(``purse_of_key``): "account" stands for both here.
"""

import contextlib
import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import zmq

from accountd.ledger.charging import Balance
from accountd.ledger.decision_types import Charge, Decision
from accountd.ledger.shared_responses import RepeatedResponse
from shared.announcements import (
    AHEAD_MAX,
    AnnouncedBalance,
    Applied,
    NewHolder,
    Recall,
    Watermark,
    account_of_topic,
    encode_balance,
    encode_new_holder,
    encode_recall,
    encode_watermark,
    key_of_purse,
    purse_of_key,
)

# Shorter than the 1 s after which a gateway that missed a watermark would send its usage again.
REPEAT_S: Final = 0.5
# Longer than the 15 s after which a gateway resends unacknowledged usage, and so is recent again.
RECENT_S: Final = 60.0
# Far more gateways than one accountd serves; repeating so many watermarks takes about 10 ms.
RECENT_PRODUCERS_MAX: Final = 4_096
# Subscriptions read, and balances announced on request, in one turn of the loop: after a restart
# every account is subscribed anew, and usage must not wait for all of them.
PER_TURN_MAX: Final = 1_000

_NOTHING: Final[Mapping[Any, Any]] = MappingProxyType({})

ReadBalances = Callable[[Iterable[str]], Mapping[str, Balance]]


class Announcer:
    """Publishes watermarks and balances. ``now`` is any clock in seconds."""

    def __init__(
        self,
        socket: "zmq.Socket[Any]",
        *,
        epoch: int,
        read_balances: ReadBalances,
        rates: Callable[[], str],
    ) -> None:
        """``socket`` is an XPUB; ``read_balances`` reads committed balances, of purses too;
        ``rates`` returns the version of the rate card in force.
        """
        self._socket = socket
        self._epoch = epoch
        self._read_balances = read_balances
        self._rates = rates
        # producer -> (watermark, time of its last usage), in the order of that time
        self._recent: OrderedDict[bytes, tuple[int, float]] = OrderedDict()
        self._repeat_at = 0.0
        self._revision = 0
        self._listeners: dict[str, int] = {}
        self._changed: dict[str, None] = {}  # accounts to announce, in order
        self._day = 0

    @property
    def accounts(self) -> int:
        """The number of accounts that gateways subscribe to, without the purses of keys."""
        return sum(key_of_purse(name) is None for name in list(self._listeners))

    # --- usage ------------------------------------------------------------------------------------

    def announce(self, decision: Decision, *, now: float) -> None:
        """Publish the balances and the watermarks of a committed group, in this order."""
        self._announce_charged(decision)
        if not self._recent:
            self._repeat_at = now + REPEAT_S
        for producer, applied_through in decision.watermarks.items():
            self._recent[producer] = (applied_through, now)
            self._recent.move_to_end(producer)
            self._publish_watermark(producer, applied_through)
        while len(self._recent) > RECENT_PRODUCERS_MAX:
            self._recent.popitem(last=False)

    def repeat(self, *, now: float) -> None:
        """Publish the watermarks of recent producers again when ``REPEAT_S`` have passed."""
        if now < self._repeat_at:
            return
        self._repeat_at = now + REPEAT_S
        silent = [p for p, (_, heard_at) in self._recent.items() if now - heard_at > RECENT_S]
        for producer in silent:
            del self._recent[producer]
        for producer, (applied_through, _) in self._recent.items():
            self._publish_watermark(producer, applied_through)

    def wait_s(self, *, now: float) -> float | None:
        """The time until the next repetition in seconds; None when there is none to come."""
        if self._changed:
            return 0.0
        return max(0.0, self._repeat_at - now) if self._recent else None

    # --- conversations ----------------------------------------------------------------------------

    def announce_holders(self, changes: Iterable[NewHolder]) -> None:
        """Publish which connections may write a stored conversation now, in place of others."""
        for change in changes:
            self._publish(encode_new_holder(change))

    # --- recalls ----------------------------------------------------------------------------------

    def announce_recalls(self, recalls: Iterable[Recall]) -> None:
        """Publish what was taken back. A gateway that misses it asks within a second."""
        for recall in recalls:
            self._publish(encode_recall(recall))

    # --- balances ---------------------------------------------------------------------------------

    def changed(self, accounts: Iterable[str]) -> None:
        """Note that requests changed the balances of these accounts."""
        self._changed.update(dict.fromkeys(accounts))

    def rates_changed(self) -> None:
        """Another rate card is in force: announce all balances again, which name its version."""
        self._changed.update(dict.fromkeys(self._listeners))

    def begin_day(self, day: int) -> None:
        """Where it is another ``day`` than at the last call, announce what keys may spend now."""
        if day != self._day:
            self._day = day
            self.changed(name for name in self._listeners if key_of_purse(name) is not None)

    def receive(self) -> None:
        """Read the subscriptions that began or ended."""
        with contextlib.suppress(zmq.Again):
            for _ in range(PER_TURN_MAX):
                self._note(self._socket.recv(zmq.DONTWAIT))

    def announce_changed(self) -> None:
        """Publish balances that requests changed, and those of accounts with new subscriptions."""
        if not self._changed:
            return
        names = list(itertools.islice(self._changed, PER_TURN_MAX))
        for name in names:
            del self._changed[name]
        balances = self._read_balances(name for name in names if name in self._listeners)
        self._publish_balances(balances)

    def balances(
        self, accounts: Iterable[str], applied: Mapping[bytes, Applied]
    ) -> list[AnnouncedBalance]:
        """The balances as they would be announced now, for a gateway that requests them."""
        read = self._read_balances(accounts)
        return list(self._announced(read, dict.fromkeys(read, applied)))

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
        listeners = self._listeners
        heard = {name: b for name, b in decision.balances.items() if name in listeners}
        if not heard:
            return
        messages: list[Charge | RepeatedResponse] = [*decision.charges, *decision.repeated]
        of_keys = [(purse_of_key(m.batch.key_hash), m) for m in messages if m.batch.key_hash]
        if of_keys:
            heard |= self._read_balances({purse for purse, _ in of_keys} & listeners.keys())
        # One mapping for all accounts of one producer, which nearly all in a group are.
        alone = {
            p: {p: applied_of(w.applied_through, w.ahead)} for p, w in decision.windows.items()
        }
        applied: dict[str, Mapping[bytes, Applied]] = {}
        for message in messages:
            account, producer = message.batch.account_id, message.producer
            if producer is None or account not in heard:
                continue
            of_others = applied.get(account)
            if of_others is None:
                applied[account] = alone[producer]
            elif producer not in of_others:
                applied[account] = {**of_others, **alone[producer]}
        for purse, message in of_keys:
            if message.producer is not None and purse in heard:
                applied[purse] = {**applied.get(purse, _NOTHING), **alone[message.producer]}
        self._publish_balances(heard, applied)

    def _publish_balances(
        self,
        balances: Mapping[str, Balance],
        applied: Mapping[str, Mapping[bytes, Applied]] = _NOTHING,
    ) -> None:
        send = self._socket.send
        for balance in self._announced(balances, applied):
            (frame,) = encode_balance(balance)
            try:  # half a microsecond less than ``contextlib.suppress``
                send(frame, zmq.DONTWAIT)
            except zmq.Again:
                continue  # a subscriber that does not read gets the next one, or requests it

    def _announced(
        self, balances: Mapping[str, Balance], applied: Mapping[str, Mapping[bytes, Applied]]
    ) -> Iterator[AnnouncedBalance]:
        """What is announced of accounts, each under a revision of its own."""
        epoch, rates, listeners = self._epoch, self._rates(), self._listeners
        for account, buckets in balances.items():
            self._revision += 1
            yield AnnouncedBalance(
                account, epoch, self._revision, buckets.topup, buckets.tokens,
                listeners.get(account) or 1, rates, applied.get(account, _NOTHING),
            )  # fmt: skip

    def _publish_watermark(self, producer: bytes, applied_through: int) -> None:
        self._publish(encode_watermark(Watermark(producer, self._epoch, applied_through)))

    def _publish(self, frames: list[bytes]) -> None:
        with contextlib.suppress(zmq.Again):
            self._socket.send_multipart(frames, zmq.DONTWAIT)


def applied_of(through: int, ahead: Iterable[int]) -> Applied:
    """A producer's watermark and the lowest ``AHEAD_MAX`` sequences applied beyond it."""
    return Applied(through, frozenset(sorted(ahead)[:AHEAD_MAX]))
