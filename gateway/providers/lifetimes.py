"""How long a session may last: the providers' own limits, in one table. Pure.

A provider ends its session itself, with an event that the client should get. So the gateway ends a
session ``GRACE_S`` after that limit, which only happens where a provider does not. Sources: the
guides of OpenAI and Azure say 60 minutes, the pages of GPT-Live and xAI 120. Gemini announces the
end of a connection with ``goAway``, long before the limit here. An operator may set other limits
(``[[lifetimes]]`` of the model table), whose rows come first. What holds for a kind holds for all
of its providers, but for those with rows of their own.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from shared.provider_kinds import kind_of


class Lifetime(NamedTuple):
    """How long sessions of ``provider`` last where ``model``, a pattern, matches their model."""

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
# The most that an operator may set: a day is longer than any provider's limit, and than any talk.
MINUTES_MAX: Final = 24 * 60
MINUTE_S: Final = 60.0
GRACE_S: Final = 10.0
# How long before its end a client that asked for events is told of it.
WARNING_S: Final = 60.0
# How long an answer that is being spoken at the end may go on.
FINISHING_S: Final = 120.0


class Lifetimes:
    """All rows, the operator's ``own`` first; the first one that matches counts."""

    __slots__ = ("_rows", "soonest_s")

    def __init__(self, own: Iterable[Lifetime] = ()) -> None:
        self._rows = (*own, *LIFETIMES)
        # Before this age no session ends or is warned, so no row has to be looked up.
        self.soonest_s = min(row.minutes for row in self._rows) * MINUTE_S + GRACE_S - WARNING_S

    def seconds(self, provider: str, model: str) -> float:
        """The age in seconds at which the gateway ends a session."""
        kind = kind_of(provider)
        for asked in (provider,) if kind == provider else (provider, kind):
            for name, pattern, minutes in self._rows:
                if name == asked and fnmatchcase(model, pattern):
                    return minutes * MINUTE_S + GRACE_S
        raise AssertionError(f"no lifetime for {provider}")
