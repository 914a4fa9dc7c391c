"""How long a session may last: the providers' own limits, in one table. Pure.

A provider ends its session by itself, with an event of its own that must arrive first. Ours comes
``GRACE_S`` later and catches a provider that does not. Sources: OpenAI's and Azure's guides say 60
minutes, GPT-Live's and xAI's pages 120. Gemini says ``goAway`` before it ends a connection,
which it does far below the cap here.
"""

from fnmatch import fnmatchcase
from typing import Final

# Provider, pattern of the model, minutes; the first that matches counts.
LIFETIMES: Final = (
    ("openai", "gpt-live*", 120),
    ("openai", "*", 60),
    ("azure", "*", 60),
    ("xai", "*", 120),
    ("gemini", "*", 60),
)
GRACE_S: Final = 10.0
# So long before its end a session is announced to end, to a client that asked for events.
WARNING_S: Final = 60.0
# What is being said when the time is over may be finished, for so long.
FINISHING_S: Final = 120.0
# Before this no session ends or is warned, so that nothing needs to be looked up.
SOONEST_S: Final = min(minutes for _, _, minutes in LIFETIMES) * 60.0 + GRACE_S - WARNING_S


def lifetime_s(provider: str, model: str) -> float:
    """Seconds from its opening after which a session is ended by us."""
    for name, pattern, minutes in LIFETIMES:
        if name == provider and fnmatchcase(model, pattern):
            return minutes * 60.0 + GRACE_S
    raise AssertionError(f"no lifetime for {provider}")
