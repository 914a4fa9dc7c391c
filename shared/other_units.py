"""Units that a provider counts and the ledger has no column for, so that they are reported. Pure.

A gateway keeps the parts of a usage object that it does not know (``UsageBatch.raw``). A number
among them may be a unit that is billed: seconds of video, minutes of a tool. No price can fall on
it, so its row is marked as unpriced, with ``OTHER_UNIT``. Pure.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Final

OTHER_UNIT: Final = "other"
# What a usage object says beside what is billed: what another unit of the same usage charges (a
# transcription in seconds and tokens, xAI's own speech beside all billable audio), how its audio
# was, and what the provider itself thinks that it costs.
_INFORMATION: Final = frozenset(
    {
        "total_tokens", "input_tokens", "output_tokens", "seconds", "output_audio_seconds",
        "channels", "cost_usd", "cost_in_usd_ticks",
    }
)  # fmt: skip
# Tokens among details are a part of a whole that is charged.
_PART: Final = re.compile(r"details\b.*token", re.IGNORECASE)
UNREADABLE: Final = "(cut)"  # where a part was too long to be kept whole
_NAME_CHARS_MAX: Final = 120
_AMOUNT_MAX: Final = 2.0**53


def other_units(raw: Iterable[str]) -> dict[str, float]:
    """The fields of the ``raw`` parts of a row that may be billed, by their dotted names, each with
    its sum. A part that cannot be read may hold any: ``UNREADABLE``, once for each.
    """
    found: dict[str, float] = {}
    for part in raw:
        try:
            numbers = list(_numbers(json.loads(part)))
        except (ValueError, RecursionError):
            numbers = [(UNREADABLE, 1.0)]
        for name, number in numbers:
            found[name] = min(found.get(name, 0.0) + number, _AMOUNT_MAX)
    return found


def _numbers(value: object, name: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from _numbers(inner, name)
    elif isinstance(value, int | float) and value > 0 and _may_be_billed(name, value):
        yield name[:_NAME_CHARS_MAX], float(min(value, _AMOUNT_MAX))


def _may_be_billed(name: str, value: float) -> bool:
    is_count = not isinstance(value, bool)
    return is_count and name not in _INFORMATION and _PART.search(name) is None
