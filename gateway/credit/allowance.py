"""What a session or a call does about its account's credit, and what it may finish first. Pure."""

from dataclasses import dataclass
from enum import Enum, auto

from gateway.credit.credit import CreditStatus
from gateway.limits import CREDIT_WAIT_S, CREDIT_WAIT_STREAMING_S


class Action(Enum):
    """What to do after a review of the credit."""

    NOTHING = auto()
    PAUSE = auto()  # take nothing from the client until it is known what is left
    RESUME = auto()  # go on after a pause
    END = auto()  # nothing is left


@dataclass(slots=True)
class Allowance:
    """What the credit allows now, and which responses were streaming when it began to."""

    status: CreditStatus = CreditStatus.AVAILABLE
    _finishing: frozenset[str] = frozenset()
    _since: float = 0.0
    _paused_at: float | None = None

    def review(self, status: CreditStatus, streaming: frozenset[str], *, now: float) -> Action:
        """What follows from ``status`` while the responses ``streaming`` are being streamed.

        A response that was streaming when the status changed is finished first, unless its end
        does not come within ``CREDIT_WAIT_STREAMING_S``. Responses that begin later are not waited
        for: where they overlap there would be no end. ``now`` is monotonic seconds.
        """
        if status is not self.status:
            self.status, self._finishing, self._since = status, streaming, now
        if status is CreditStatus.AVAILABLE:
            was_paused, self._paused_at = self._paused_at is not None, None
            return Action.RESUME if was_paused else Action.NOTHING
        if self._finishing & streaming and now - self._since <= CREDIT_WAIT_STREAMING_S:
            return Action.NOTHING
        if status is CreditStatus.EXHAUSTED:
            return Action.END
        if self._paused_at is not None:
            return Action.NOTHING
        self._paused_at = now
        return Action.PAUSE

    def is_overdue(self, now: float, *, is_streaming: bool) -> bool:
        """Whether a pause has lasted too long to go on waiting for accountd."""
        wait_s = CREDIT_WAIT_STREAMING_S if is_streaming else CREDIT_WAIT_S
        return self._paused_at is not None and now - self._paused_at > wait_s
