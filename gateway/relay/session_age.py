"""The end of a session that has lasted as long as its provider allows. Pure.

A response is never cut in the middle: one that is streaming when the time is over is finished,
within ``FINISHING_S``.
"""

import json
from enum import Enum, auto

from gateway.providers import lifetimes
from gateway.providers.lifetimes import Lifetimes


class AgeAction(Enum):
    """What is due by a session's age."""

    NOTHING = auto()
    WARNING = auto()
    END = auto()


class Age:
    """The age of one session or call at ``provider``, and what is due by it. Times are monotonic
    seconds.
    """

    __slots__ = ("_lifetimes", "_opened_at", "provider")

    def __init__(self, table: Lifetimes, provider: str, *, opened_at: float) -> None:
        self._lifetimes = table
        self.provider = provider
        self._opened_at = opened_at

    def restart(self, now: float) -> None:
        """Another connection to the provider takes the place of the first."""
        self._opened_at = now

    def due(self, model: str, now: float, *, is_streaming: bool) -> AgeAction:
        """What is due with ``model``; ``is_streaming``: a response is being streamed."""
        if now - self._opened_at < self._lifetimes.soonest_s:
            return AgeAction.NOTHING
        over_s = -self._left_s(model, now)
        if over_s > (lifetimes.FINISHING_S if is_streaming else 0.0):
            return AgeAction.END
        return AgeAction.WARNING if over_s > -lifetimes.WARNING_S else AgeAction.NOTHING

    def ending_event(self, model: str, now: float) -> bytes:
        """What tells a client that asked for events how many seconds are left."""
        left_s = max(0, round(self._left_s(model, now)))
        event = {"type": "rts.session_ending", "seconds_left": left_s}
        return json.dumps(event, separators=(",", ":")).encode()

    def _left_s(self, model: str, now: float) -> float:
        age_s = now - self._opened_at
        return self._lifetimes.seconds(self.provider, model) - age_s
