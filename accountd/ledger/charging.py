"""What a batch of usage costs its account, and what that leaves. Pure.

Charges of new usage, retries from the quarantine and grants all come here, so that a balance and a
crossing of its low-credit mark mean the same wherever they arise.
"""

from typing import Final

from msgspec import Struct

from accountd.ledger.cascade import Deduction, cascade
from accountd.ledger.estimates import EstimateWaiver
from shared.fields import RejectReason
from shared.rates import Rates
from shared.usage import UsageBatch

BALANCE_MIN: Final = -(2**63)  # SQLite's integers


class Balance(Struct, frozen=True, gc=False):
    """The two buckets of an account, in credits, and its low-credit mark where it has one."""

    topup: int
    tokens: int
    mark: int | None = None

    @property
    def total(self) -> int:
        """What is left in both buckets."""
        return self.topup + self.tokens


class Crossing(Struct, frozen=True, gc=False):
    """An account fell from above its low-credit mark to it or below; ``left`` is what it has."""

    account_id: str
    left: Balance


class Unchargeable(Struct, frozen=True, gc=False):
    """Why a batch cannot be charged."""

    reason: RejectReason
    detail: str


class PricedCharge(Struct, frozen=True, gc=False):
    """What a batch takes, what that leaves, and the credits waived if it was an estimate."""

    deduction: Deduction
    left: Balance
    waived: int


def price_batch(
    batch: UsageBatch, balance: Balance | None, *, rates: Rates, waiver: EstimateWaiver
) -> PricedCharge | Unchargeable:
    """What ``batch`` takes from its account's ``balance``, or why it cannot."""
    if balance is None:
        return Unchargeable(RejectReason.UNKNOWN_ACCOUNT, f"no account {batch.account_id!r}")
    cost = rates.credits(batch)
    waived = cost if waiver.waives(batch, cost) else 0
    deduction = cascade(topup=balance.topup, used=cost - waived)
    if balance.tokens - deduction.tokens < BALANCE_MIN:
        detail = f"account {batch.account_id!r} would fall below {BALANCE_MIN}"
        return Unchargeable(RejectReason.OUT_OF_RANGE, detail)
    left = Balance(balance.topup - deduction.topup, balance.tokens - deduction.tokens, balance.mark)
    return PricedCharge(deduction, left, waived)


def crossing(account_id: str, *, before: int, left: Balance) -> Crossing | None:
    """The crossing, if an account that had ``before`` in both buckets fell to its mark.

    Every charge and grant asks this. A mark of 100 is crossed by a charge from 120 to 90, not by
    one from 90 to 60: the next crossing needs a grant that lifts the balance above 100 first.
    """
    if left.mark is not None and before > left.mark >= left.total:
        return Crossing(account_id, left)
    return None
