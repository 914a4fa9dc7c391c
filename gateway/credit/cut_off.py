"""When a session is paused or ended for want of credit, and what it may finish first. Pure."""

from dataclasses import dataclass
from enum import Enum, auto

from gateway.credit.credit import CreditStatus
from gateway.limits import CREDIT_WAIT_S, CREDIT_WAIT_STREAMING_S


class CreditAction(Enum):
    """What to do after a review of the credit."""

    NOTHING = auto()
    PAUSE = auto()  # take nothing from the client until it is known what is left
    RESUME = auto()  # go on after a pause
    END = auto()  # nothing is left


@dataclass(slots=True)
class CutOff:
    """What the credit of one session allows now, and which responses were streaming when it began
    to.
    """

    status: CreditStatus = CreditStatus.AVAILABLE
    _finishing: frozenset[str] = frozenset()
    _since: float = 0.0
    _paused_at: float | None = None

    def review(
        self, status: CreditStatus, streaming: frozenset[str], *, now: float
    ) -> CreditAction:
        """What follows from ``status`` while the responses ``streaming`` are being streamed.

        A response that was streaming when the status changed is finished first, unless its end
        does not come within ``CREDIT_WAIT_STREAMING_S``. Responses that begin later are not waited
        for: where they overlap there would be no end. ``now`` is monotonic seconds.
        """
        if status is not self.status:
            self.status, self._finishing, self._since = status, streaming, now
        if status is CreditStatus.AVAILABLE:
            was_paused, self._paused_at = self._paused_at is not None, None
            return CreditAction.RESUME if was_paused else CreditAction.NOTHING
        if self._finishing & streaming and now - self._since <= CREDIT_WAIT_STREAMING_S:
            return CreditAction.NOTHING
        if status is CreditStatus.EXHAUSTED:
            return CreditAction.END
        if self._paused_at is not None:
            return CreditAction.NOTHING
        self._paused_at = now
        return CreditAction.PAUSE

    def is_overdue(self, now: float, *, is_streaming: bool) -> bool:
        """Whether a pause has lasted too long to go on waiting for accountd."""
        wait_s = CREDIT_WAIT_STREAMING_S if is_streaming else CREDIT_WAIT_S
        return self._paused_at is not None and now - self._paused_at > wait_s
