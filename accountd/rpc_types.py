"""Parameter values and field names of requests that accountctl and the daemon share. Pure.

It imports no module of accountd, so that accountctl does not load the database.
"""

from enum import StrEnum
from typing import Final


class DebtPolicy(StrEnum):
    """What a renewal does with a negative subscription balance."""

    KEEP = "keep"
    FORGIVE = "forgive"


class GroupBy(StrEnum):
    """By what a statement groups charges."""

    DAY = "day"
    SESSION = "session"
    MODEL = "model"
    KIND = "kind"


# The columns that a statement sums.
SUMMED: Final = (
    "responses", "input_tokens", "output_tokens", "total_tokens", "topup_deducted",
    "token_deducted",
)  # fmt: skip
BUCKETS: Final = ("topup_remaining", "token_remaining")
COMMON_KIND: Final = "response"  # of nearly every usage row
REPORT_S: Final = 2.0  # between two reports of a gateway about its providers
