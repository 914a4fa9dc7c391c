"""What keys spend, by day: the sums that a spending cap is held against. Pure.

Only usage that names its key counts. It counts for the day in which it was metered, in UTC, by the
gateway's clock: so a sum follows from the rows alone, and the audit can prove it.
"""

from collections.abc import Iterable
from typing import Final

from accountd.ledger.decision_types import Charge

DAY_MS: Final = 86_400_000

Spent = dict[tuple[str, int], int]
"""Credits by the key's hash and the day, which is the number of days since 1970."""


def day_of(epoch_ms: int) -> int:
    """The day, in UTC, of a Unix time in milliseconds."""
    return epoch_ms // DAY_MS


def spent_by(charges: Iterable[Charge]) -> Spent:
    """What the keys that some of the ``charges`` name have spent, by day."""
    spent: Spent = {}
    for charge in charges:
        batch, deduction = charge.batch, charge.deduction
        if batch.key_hash:
            of = batch.key_hash, day_of(batch.metered_at_ms)
            spent[of] = spent.get(of, 0) + deduction.topup + deduction.tokens
    return spent
