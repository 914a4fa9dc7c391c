"""The end of a session that has lasted as long as its provider allows. Pure.

A response is never cut in the middle: what is being said when the time is over is finished, within
``FINISHING_S``.
"""

import json
from enum import Enum, auto

from gateway.providers import lifetimes
from gateway.providers.lifetimes import Lifetimes


class Due(Enum):
    """What is due by a session's age."""

    NOTHING = auto()
    WARNING = auto()
    END = auto()


def due(table: Lifetimes, provider: str, model: str, age_s: float, *, is_speaking: bool) -> Due:
    """What is due for a session of ``age_s`` seconds; ``is_speaking``: a response is being said."""
    if age_s < table.soonest_s:
        return Due.NOTHING
    over_s = age_s - table.seconds(provider, model)
    if over_s > (lifetimes.FINISHING_S if is_speaking else 0.0):
        return Due.END
    return Due.WARNING if over_s > -lifetimes.WARNING_S else Due.NOTHING


def ending_event(table: Lifetimes, provider: str, model: str, age_s: float) -> bytes:
    """What tells a client that asked for events how many seconds are left."""
    left_s = max(0, round(table.seconds(provider, model) - age_s))
    event = {"type": "rts.session_ending", "seconds_left": left_s}
    return json.dumps(event, separators=(",", ":")).encode()
