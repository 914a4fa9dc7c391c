"""What an account may still spend here: the announced balance less what is not in it yet. Pure.

accountd announces balances; what this gateway has metered and accountd has not applied is
subtracted. Other gateways spend from the same balance, and what they have metered is not known
here. So each may spend its *allotment*: the balance divided by the number of gateways that serve
the account. Once its allotment is spent, a gateway starts nothing new until the next balance. The
allotments add up to the balance, so whatever messages are lost and whoever restarts, an account
overshoots by no more than the responses that were in progress when its credit ended.

A new balance also brings a new allotment, while other gateways may still spend, or have spent and
not sent, their allotments of the balance before. So for ``LATE_S`` (``SETTLE_S`` after a restart of
accountd) every gateway also stays within what was left of its old allotment. Example: three
gateways, a balance of 90, an allotment of 30 each; one that has spent its 30 and hears of a new
balance of 60 has a new allotment of 20, and may begin to spend it ``LATE_S`` later.

Amounts are nano-credits (``shared.rates``) unless a name says credits; ``now`` is monotonic
seconds.
"""

from collections import OrderedDict, deque
from collections.abc import Collection
from enum import Enum
from math import inf
from typing import Final

from shared.announcements import Balance
from shared.rates import NANO_PER_CREDIT

# How much of a response's cost goes into the typical one, inverted: the last handful counts.
_TYPICAL_WEIGHT: Final = 4
# A balance that was not announced so long after usage was sent is asked for: commits take
# milliseconds, and a restart of accountd about a second.
OVERDUE_S: Final = 1.0
# Gateways reconnect to a restarted accountd one by one, each with usage that it metered meanwhile.
# Until all are back the balances are too high, so each stays within what was left of its allotment.
SETTLE_S: Final = 5.0
# Time after which every gateway has heard of usage: it takes milliseconds, and rarely a second on a
# busy machine. While accountd is away no allotment is renewed.
LATE_S: Final = 1.0


class CreditStatus(Enum):
    """What the credit allows. The value is the word in the log."""

    AVAILABLE = "go"
    ALLOTMENT_SPENT = "hold"  # nothing new may start before accountd has announced what is left
    EXHAUSTED = "empty"  # nothing is left of the balance


class Credit:
    """One account's credit as this gateway knows it. ``CreditTable`` makes it and updates it."""

    __slots__ = (
        "_doubtful", "_doubtful_through", "_is_new_boot", "_kept", "_metered", "_near_responses",
        "_pending", "_sent", "_settled", "_settles_at", "_typical", "_unsent", "_waits_since",
        "account_id", "balance", "sessions",
    )  # fmt: skip

    def __init__(self, balance: Balance, *, near_responses: int) -> None:
        """``balance`` is what the key was let in with: it stands until the first announcement."""
        self.account_id = balance.account_id
        self.balance = balance
        self.sessions = 0
        self._near_responses = near_responses
        self._typical = 0
        # Old allotments that still bind: (until when, the most that may be metered under it). Both
        # ascend, so the first is the tightest. ``_metered`` is compared with it.
        self._kept: deque[tuple[float, int]] = deque()
        self._metered = 0
        self._settles_at = -inf
        # Metered and not in the balance: in no message yet, in messages, and in messages that are
        # durable although no balance said so.
        self._unsent = self._sent = self._settled = 0
        # What each message holds, by producer and sequence; sequences ascend.
        self._pending: dict[bytes, OrderedDict[int, int]] = {}
        # How much of it, in messages up to these, was pending when the balance came, and may be in
        # it all the same: what a boot that is gone had applied, or what was applied while we did
        # not hear, no balance names.
        self._doubtful = 0
        self._doubtful_through: dict[bytes, int] = {}
        self._is_new_boot = False
        self._waits_since: float | None = None

    # --- what it allows ---------------------------------------------------------------------------

    @property
    def left(self) -> int:
        """The balance less what is not in it yet; at most 0 when nothing is left."""
        return self.balance.credits * NANO_PER_CREDIT - self._spent

    @property
    def status(self) -> CreditStatus:
        """Whether a session may go on."""
        if self.left + self._doubtful <= 0:
            return CreditStatus.EXHAUSTED
        return CreditStatus.AVAILABLE if self._allotment_left > 0 else CreditStatus.ALLOTMENT_SPENT

    @property
    def is_near_empty(self) -> bool:
        """Whether every response must be sent at once: the allotment is nearly spent."""
        return self._allotment_left <= self._near_responses * self._typical

    @property
    def is_idle(self) -> bool:
        """Whether nobody needs it any more."""
        return not (self.sessions or self._unsent or self._pending)

    @property
    def is_waiting(self) -> bool:
        """Whether time alone may change something: a balance is due, or an old allotment counts."""
        return self._waits_since is not None or bool(self._kept)

    def is_overdue(self, now: float) -> bool:
        """Whether a balance should have been announced and was not."""
        return self._waits_since is not None and now - self._waits_since > OVERDUE_S

    @property
    def _allotment_left(self) -> int:
        new = self._new_allotment_left
        return min(new, self._kept[0][1] - self._metered) if self._kept else new

    @property
    def _new_allotment_left(self) -> int:
        """Of our allotment by the newest balance alone."""
        return self.balance.credits * NANO_PER_CREDIT // self.balance.gateways - self._spent

    @property
    def _spent(self) -> int:
        return self._unsent + self._sent + self._settled

    # --- what happens -----------------------------------------------------------------------------

    def metered(self, nano: int, *, is_response: bool) -> None:
        """Something was metered that will be charged."""
        self._unsent += nano
        self._metered += nano
        if is_response:
            step = (nano - self._typical) // _TYPICAL_WEIGHT
            self._typical = self._typical + step if self._typical else nano

    def sealed(self, nano: int, producer: bytes, sequence: int, *, now: float) -> None:
        """Some of what was metered is in a message."""
        self._unsent -= nano
        self._sent += nano
        self._pending.setdefault(producer, OrderedDict())[sequence] = nano
        if self._waits_since is None:
            self._waits_since = now

    def awaits(self, producer: bytes) -> bool:
        """Whether messages of the producer are in no balance yet."""
        return producer in self._pending

    def acknowledged(self, producer: bytes, through: int) -> bool:
        """Messages are durable; whether any of ours are among them.

        What no balance told us stays spent until the next one, except what a new boot's first one
        told: it answers for what the one before it had applied. Any other may be out of date by
        now, because we do not hear: what was doubtful stays so.
        """
        sent, doubtful = self._sent, self._doubtful
        if not self._apply(producer, through):
            return False
        self._settled += sent - self._sent
        if self._is_new_boot:
            self._settled -= doubtful - self._doubtful
        else:
            self._doubtful = doubtful
        return True

    def announced(self, balance: Balance, *, now: float) -> None:
        """There is a newer balance: whatever was durable before is in it."""
        self._is_new_boot = balance.epoch != self.balance.epoch
        if self.balance.epoch:  # what our key was let in with was no allotment
            self._keep_before(balance, now)
        self.balance = balance
        self._settled = 0
        for producer, applied in balance.applied.items():
            self._apply(producer, applied.through, applied.ahead)
        self._doubtful = self._sent
        self._doubtful_through = {p: next(reversed(held)) for p, held in self._pending.items()}
        self._waits_since = now if self._pending else None

    def settle(self, now: float) -> bool:
        """Whether time alone allows something: everybody has heard by now what we have heard, or is
        back at a restarted accountd.
        """
        if not self._kept or now < self._kept[0][0]:
            return False
        before = self.status
        while self._kept and self._kept[0][0] <= now:
            self._kept.popleft()
        return self.status is not before

    def _keep_before(self, balance: Balance, now: float) -> None:
        """Keep to what is left of our allotment, although ``balance`` says how much that is anew.

        What is given counts at once: who does not know of it spends less. While everybody is to
        settle it does not, because it is not known by how many it is to be shared.
        """
        if self._is_new_boot:
            left, self._settles_at = self._allotment_left, now + SETTLE_S
        elif max(self.balance.gateways, balance.gateways) > 1:
            left = self._new_allotment_left
        else:
            return
        until, most = max(now + LATE_S, self._settles_at), self._metered + left
        while self._kept and self._kept[-1][1] >= most:
            self._kept.pop()
        self._kept.append((until, most))
        given = balance.credits - self.balance.credits
        if given > 0 and now >= self._settles_at:
            self._metered -= given * NANO_PER_CREDIT // balance.gateways

    def _apply(self, producer: bytes, through: int, ahead: Collection[int] = ()) -> bool:
        """Messages of the producer, up to ``through`` and those in ``ahead``, are pending no more.

        Whether there were any. It costs nothing for what stays: an outage leaves 100,000 of them.
        """
        held = self._pending.get(producer)
        if held is None:
            return False
        before = len(held)
        while held and (sequence := next(iter(held))) <= through:
            self._forget(producer, sequence, held.pop(sequence))
        for sequence in held.keys() & ahead if ahead else ():
            self._forget(producer, sequence, held.pop(sequence))
        if not held:
            del self._pending[producer]
        return len(held) < before

    def _forget(self, producer: bytes, sequence: int, nano: int) -> None:
        self._sent -= nano
        if sequence <= self._doubtful_through.get(producer, 0):
            self._doubtful -= nano


class CreditTable:
    """The credit of every account that this gateway serves."""

    def __init__(self, *, near_responses: int) -> None:
        """``near_responses``: near empty is less than so many typical responses, from 0."""
        self._near_responses = near_responses
        self._credits: dict[str, Credit] = {}
        # The credits that have something in messages of a producer.
        self._waiting: dict[bytes, dict[str, Credit]] = {}
        # Those that time alone may change: the others are not looked at again and again.
        self._timed: dict[str, Credit] = {}
        self._epoch = 0

    def __len__(self) -> int:
        """Accounts that are known."""
        return len(self._credits)

    @property
    def producers(self) -> list[bytes]:
        """Whose messages are waited for."""
        return list(self._waiting)

    def open(self, account_id: str, *, topup: int, tokens: int) -> Credit:
        """A session begins; its key was let in with these credits."""
        credit = self._credits.get(account_id)
        if credit is None:
            balance = Balance(account_id, epoch=0, revision=0, topup=topup, tokens=tokens)
            credit = Credit(balance, near_responses=self._near_responses)
            self._credits[account_id] = credit
        credit.sessions += 1
        return credit

    def close(self, credit: Credit) -> None:
        """A session has ended."""
        credit.sessions -= 1
        self._tidy(credit)

    def sealed(
        self, account_id: str, nano: int, producer: bytes, sequence: int, *, now: float
    ) -> None:
        """What was metered is in the message with this number; numbers ascend."""
        credit = self._credits.get(account_id)
        if credit is not None:
            credit.sealed(nano, producer, sequence, now=now)
            self._waiting.setdefault(producer, {})[account_id] = credit
            self._timed[account_id] = credit

    def acknowledged(self, producer: bytes, through: int) -> list[Credit]:
        """The producer's messages up to ``through`` are durable; the credits that this changes."""
        waiting = self._waiting.get(producer, {}).values()
        changed = [credit for credit in waiting if credit.acknowledged(producer, through)]
        for credit in changed:
            self._look_at(producer, credit)
            self._tidy(credit)
        return changed

    def answered(self, epoch: int) -> None:
        """accountd answers as this boot: what any other one announced counts no more."""
        self._epoch = epoch

    def announced(self, balance: Balance, *, now: float) -> Credit | None:
        """A balance was announced: the credit that it changes; None when it is no news."""
        credit = self._credits.get(balance.account_id)
        if credit is None or balance.epoch < self._epoch:
            return None
        self._epoch = balance.epoch
        known = credit.balance
        if known.epoch == balance.epoch and known.revision >= balance.revision:
            return None
        credit.announced(balance, now=now)
        for producer in balance.applied:
            self._look_at(producer, credit)
        if credit.is_waiting:
            self._timed[credit.account_id] = credit
        self._tidy(credit)
        return credit

    def settled(self, now: float) -> list[Credit]:
        """The credits that time alone has freed; to be asked at least twice a second."""
        return [credit for credit in self._timed.values() if credit.settle(now)]

    def overdue(self, now: float) -> list[str]:
        """The accounts whose balance should have been announced and was not."""
        self._timed = {name: credit for name, credit in self._timed.items() if credit.is_waiting}
        return [name for name, credit in self._timed.items() if credit.is_overdue(now)]

    def _look_at(self, producer: bytes, credit: Credit) -> None:
        """Note when a credit waits no longer for messages of the producer."""
        waiting = self._waiting.get(producer)
        if waiting is not None and not credit.awaits(producer):
            waiting.pop(credit.account_id, None)
            if not waiting:
                del self._waiting[producer]

    def _tidy(self, credit: Credit) -> None:
        if credit.is_idle:
            self._credits.pop(credit.account_id, None)
            self._timed.pop(credit.account_id, None)
