"""How long a session may last: the providers' own limits, in one table. Pure.

A provider ends its session by itself, with an event of its own that must arrive first. Ours comes
``GRACE_S`` later and catches a provider that does not. Sources: OpenAI's and Azure's guides say 60
minutes, GPT-Live's and xAI's pages 120. Gemini says ``goAway`` before it ends a connection,
which it does far below the cap here. An operator may know better (``[[lifetimes]]`` of the model
table): such rows come first.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final, NamedTuple


class Lifetime(NamedTuple):
    """How long sessions last with the models of ``provider`` that a pattern matches."""

    provider: str
    model: str
    minutes: int


LIFETIMES: Final = (
    Lifetime("openai", "gpt-live*", 120),
    Lifetime("openai", "*", 60),
    Lifetime("azure", "*", 60),
    Lifetime("xai", "*", 120),
    Lifetime("gemini", "*", 60),
)
# An operator's: a day is longer than any provider's, and than any talk.
MINUTES_MAX: Final = 24 * 60
MINUTE_S: Final = 60.0
GRACE_S: Final = 10.0
# So long before its end a session is announced to end, to a client that asked for events.
WARNING_S: Final = 60.0
# What is being said when the time is over may be finished, for so long.
FINISHING_S: Final = 120.0


class Lifetimes:
    """All rows, the operator's ``own`` first; the first one that matches counts."""

    __slots__ = ("_rows", "soonest_s")

    def __init__(self, own: Iterable[Lifetime] = ()) -> None:
        self._rows = (*own, *LIFETIMES)
        # Before this no session ends or is warned, so that nothing needs to be looked up.
        self.soonest_s = min(row.minutes for row in self._rows) * MINUTE_S + GRACE_S - WARNING_S

    def seconds(self, provider: str, model: str) -> float:
        """Seconds from its opening after which a session is ended by us."""
        for name, pattern, minutes in self._rows:
            if name == provider and fnmatchcase(model, pattern):
                return minutes * MINUTE_S + GRACE_S
        raise AssertionError(f"no lifetime for {provider}")
