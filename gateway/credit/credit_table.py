"""The credit of every account that this gateway serves, and which of them wait for what. Pure.

Made and called by ``balances``, which passes on what is sealed, acknowledged and announced. It
promises that a credit stays known while a session or a message without a balance needs it.
"""

from gateway.credit.credit import Credit
from shared.announcements import AnnouncedBalance


class CreditTable:
    """Credits by account. It also ignores balances that are out of date."""

    def __init__(self, *, near_responses: int, typical_credits: int = 1) -> None:
        """``near_responses``: near empty is less than so many typical responses, from 0.
        ``typical_credits``: what a response costs, until one has cost more.
        """
        self._near_responses = near_responses
        self._typical_credits = typical_credits
        self._credits: dict[str, Credit] = {}
        # By producer: the credits that have usage in its pending messages.
        self._waiting: dict[bytes, dict[str, Credit]] = {}
        # Those that time alone may change: ``expired`` and ``overdue`` look at no others.
        self._timed: dict[str, Credit] = {}
        self._epoch = 0

    def __len__(self) -> int:
        """How many accounts are known."""
        return len(self._credits)

    @property
    def producers(self) -> list[bytes]:
        """The producers whose messages are in no balance yet."""
        return list(self._waiting)

    def open(self, account_id: str, *, topup: int, tokens: int) -> Credit:
        """A session begins; the authorization of its key named these credits."""
        credit = self._credits.get(account_id)
        if credit is None:
            balance = AnnouncedBalance(account_id, epoch=0, revision=0, topup=topup, tokens=tokens)
            credit = Credit(
                balance,
                near_responses=self._near_responses,
                typical_credits=self._typical_credits,
            )
            self._credits[account_id] = credit
        credit.sessions += 1
        return credit

    def find(self, account_id: str) -> Credit | None:
        """The account's credit, where it is known."""
        return self._credits.get(account_id)

    def close(self, credit: Credit) -> None:
        """A session has ended."""
        credit.sessions -= 1
        self._drop_if_idle(credit)

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
            self._unlink(producer, credit)
            self._drop_if_idle(credit)
        return changed

    def answered(self, epoch: int) -> None:
        """accountd answered a request as this boot: balances of lower epochs are out of date.

        ``epoch`` may also be lower than before: accountd's clock was set back.
        """
        self._epoch = epoch

    def announced(self, balance: AnnouncedBalance, *, now: float) -> Credit | None:
        """A balance was announced: the credit that it changes; None when it is out of date, or of
        an account without sessions.
        """
        credit = self._credits.get(balance.account_id)
        if credit is None or balance.epoch < self._epoch:
            return None
        self._epoch = balance.epoch
        known = credit.balance
        if known.epoch == balance.epoch and known.revision >= balance.revision:
            return None
        credit.announced(balance, now=now)
        for producer in balance.applied:
            self._unlink(producer, credit)
        if credit.is_waiting:
            self._timed[credit.account_id] = credit
        self._drop_if_idle(credit)
        return credit

    def expired(self, now: float) -> list[Credit]:
        """Let old allotments expire: the credits that this changes. To be called twice a second."""
        return [credit for credit in self._timed.values() if credit.expire_allotments(now)]

    def overdue(self, now: float) -> list[str]:
        """The accounts whose balance should have been announced and was not."""
        self._timed = {name: credit for name, credit in self._timed.items() if credit.is_waiting}
        return [name for name, credit in self._timed.items() if credit.is_overdue(now)]

    def _unlink(self, producer: bytes, credit: Credit) -> None:
        """Forget that a credit waits for messages of the producer, once it no longer does."""
        waiting = self._waiting.get(producer)
        if waiting is not None and not credit.awaits(producer):
            waiting.pop(credit.account_id, None)
            if not waiting:
                del self._waiting[producer]

    def _drop_if_idle(self, credit: Credit) -> None:
        if credit.is_idle:
            self._credits.pop(credit.account_id, None)
            self._timed.pop(credit.account_id, None)
