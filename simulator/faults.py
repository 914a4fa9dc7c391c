"""What a session does wrong on demand, read from its query. Pure.

This is the one place that reads the query for faults; a value that it does not know is refused with
400, so that a test never passes because its fault was misspelt.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from simulator.openai_events import Event

ABSURD_TOKENS: Final = 10**12  # more than a response can cost
ABNORMAL: Final = 1006  # no close frame is sent (RFC 6455 section 7.1.5): the connection is cut
MILLISECONDS_MAX: Final = 60_000
_USAGES: Final = ("null", "empty", "zero", "absurd")
_REFUSALS: Final = ("401", "429", "503")
# What a close frame may carry (RFC 6455 section 7.4 and IANA's registry), and 1006.
_CLOSE_CODES: Final = frozenset({*range(1000, 1015), *range(3000, 5000)} - {1004, 1005})


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults of one session; by default there are none.

    ``dial_s``: how long the handshake waits. ``refuse``: the HTTP status in place of the upgrade.
    ``close_code``, ``close_after_s``: closes so long after a response began, if it is still made.
    ``usage``: what stands in every response.done in place of the usage.
    """

    dial_s: float = 0.0
    refuse: int | None = None
    close_code: int | None = None
    close_after_s: float | None = None
    usage: str | None = None
    is_cancel_ignored: bool = False
    is_done_withheld: bool = False

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Faults":
        """The faults that a query asks for; raises ``ValueError`` with "expected …"."""
        refuse = _choice(query, "refuse", *_REFUSALS)
        code = _integer(query, "close", 1000, 4999)
        if code is not None and code not in _CLOSE_CODES:
            raise ValueError(
                f"close: found {code}, expected a close code that may be sent, or 1006"
            )
        after_ms = _integer(query, "close_after_ms", 0, MILLISECONDS_MAX) or 0
        return cls(
            dial_s=(_integer(query, "dial_ms", 0, MILLISECONDS_MAX) or 0) / 1000,
            refuse=int(refuse) if refuse else None,
            close_code=code,
            close_after_s=None if code is None else after_ms / 1000,
            usage=_choice(query, "usage", *_USAGES),
            is_cancel_ignored=_choice(query, "cancel", "ignore") is not None,
            is_done_withheld=_choice(query, "done", "never") is not None,
        )

    def reported(self, counted: Event) -> Event | None:
        """The usage that is sent in place of what was counted."""
        if self.usage == "null":
            return None
        if self.usage == "empty":
            return {}
        if self.usage in ("zero", "absurd"):
            return _filled(counted, 0 if self.usage == "zero" else ABSURD_TOKENS)
        return counted


def _filled(counted: Event, tokens: int) -> Event:
    return {
        name: _filled(value, tokens) if isinstance(value, dict) else tokens
        for name, value in counted.items()
    }


def _choice(query: Mapping[str, str], name: str, *choices: str) -> str | None:
    found = query.get(name)
    if found is not None and found not in choices:
        raise ValueError(f"{name}: found {found!r}, expected {' or '.join(choices)}")
    return found


def _integer(query: Mapping[str, str], name: str, low: int, high: int) -> int | None:
    found: Any = query.get(name)
    if found is None:
        return None
    if not found.isdecimal() or not low <= int(found) <= high:
        raise ValueError(f"{name}: found {found!r}, expected an integer from {low} to {high}")
    return int(found)
