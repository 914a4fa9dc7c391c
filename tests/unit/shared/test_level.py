"""The level of what accountd understands rises with what gateways may tell it."""

from dataclasses import fields

from shared.usage import USAGE_FIELDS, Kind, UsageBatch
from shared.wire import LEVEL

# By level: the counts of a usage, the fields of a batch, the kinds.
UNDERSTOOD = {1: (18, 12, 10)}


def test_a_level_says_what_is_understood() -> None:
    """Who adds a field or a kind raises the level, and adds a line here: an accountd of before
    drops it silently, or refuses it, and a gateway says so only when the level tells.
    """
    found = len(USAGE_FIELDS), len(fields(UsageBatch)), len(Kind)
    assert {LEVEL: found} == {max(UNDERSTOOD): UNDERSTOOD[max(UNDERSTOOD)]}
