"""How a charge is split over the two buckets of an account. Pure.

Integers only.

The rule, word for word: a charge takes top-up credits first, down to zero, and the remainder from
the subscription tokens, which may go negative.
"""

from msgspec import Struct


class Deduction(Struct, frozen=True, gc=False):
    """What a charge takes from each bucket, in credits; both are never negative."""

    topup: int
    tokens: int


def cascade(*, topup: int, used: int) -> Deduction:
    """Split a charge of ``used`` credits over an account whose top-up bucket holds ``topup``.

    The subscription's balance does not matter: it takes the remainder and may go below zero.
    A top-up bucket at or below zero pays nothing.
    """
    assert used >= 0
    if topup <= 0:
        return Deduction(0, used)
    from_topup = min(used, topup)
    return Deduction(from_topup, used - from_topup)
