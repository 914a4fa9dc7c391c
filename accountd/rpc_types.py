"""Words of requests and answers that accountctl and the daemon share. Pure.

Imports nothing, so that a command that asks a daemon need not load a database.
"""

from enum import StrEnum
from typing import Final


class DebtPolicy(StrEnum):
    """What a renewal does with a subscription that was overdrawn."""

    KEEP = "keep"
    FORGIVE = "forgive"


class GroupBy(StrEnum):
    """What a statement groups charges by."""

    DAY = "day"
    SESSION = "session"
    MODEL = "model"
    KIND = "kind"


# What a statement sums.
SUMMED: Final = (
    "responses", "input_tokens", "output_tokens", "total_tokens", "topup_deducted",
    "token_deducted",
)  # fmt: skip
BUCKETS: Final = ("topup_remaining", "token_remaining")
