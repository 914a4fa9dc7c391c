"""When a session is paused or ended for want of credit, and what it may finish first. Pure."""

from dataclasses import dataclass
from enum import Enum, auto

from gateway.credit.credit import CreditStatus
from gateway.limits import ANSWER_S, CREDIT_WAIT_S, CREDIT_WAIT_STREAMING_S, FLOOR_ASKED_S


class CreditAction(Enum):
    """What to do after a review of the credit."""

    NOTHING = auto()
    PAUSE = auto()  # take nothing from the client until it is known what is left, or to the end
    RESUME = auto()  # go on after a pause
    END = auto()  # nothing is left


@dataclass(slots=True)
class CutOff:
    """What the credit of one session allows now, and which responses were streaming when it began
    to, or had been asked for.
    """

    status: CreditStatus = CreditStatus.AVAILABLE
    _finishing: frozenset[str] = frozenset()
    _awaits_s: float = 0.0  # for how long a response may begin that was asked for before
    _since: float = 0.0
    _paused_at: float | None = None

    def review(
        self,
        status: CreditStatus,
        streaming: frozenset[str],
        *,
        now: float,
        is_asked: bool = False,
        may_answer: bool = False,
    ) -> CreditAction:
        """What follows from ``status`` while the responses ``streaming`` are being streamed.

        A response that was streaming when the status changed is finished first, unless its end
        does not come within ``CREDIT_WAIT_STREAMING_S``; and so is one that had been asked for
        (``is_asked``) and begins within ``FLOOR_ASKED_S``, or that the user has perhaps asked for
        (``may_answer``) and that begins within ``ANSWER_S``, because it is charged. Once nothing is
        left the client is paused meanwhile: what it would ask now could not be answered whole.
        Responses that begin later are not waited for: where they overlap there would be no end.
        ``now`` is monotonic seconds.
        """
        if status is not self.status:
            self.status, self._finishing, self._since = status, streaming, now
            self._awaits_s = FLOOR_ASKED_S if is_asked else ANSWER_S if may_answer else 0.0
        if status is CreditStatus.AVAILABLE:
            was_paused, self._paused_at = self._paused_at is not None, None
            return CreditAction.RESUME if was_paused else CreditAction.NOTHING
        if status is not CreditStatus.EXHAUSTED:
            is_finishing = self._is_finishing(streaming, now)
            return CreditAction.NOTHING if is_finishing else self._pause(now)
        is_awaiting = self._is_awaiting(streaming, now, may_begin=is_asked or may_answer)
        if is_awaiting or self._is_finishing(streaming, now):
            return self._pause(now)
        return CreditAction.END

    def is_overdue(self, now: float, *, is_streaming: bool) -> bool:
        """Whether a pause has lasted too long to go on waiting for accountd."""
        if self._paused_at is None or self.status is CreditStatus.EXHAUSTED:
            return False
        wait_s = CREDIT_WAIT_STREAMING_S if is_streaming else CREDIT_WAIT_S
        return now - self._paused_at > wait_s

    def _is_finishing(self, streaming: frozenset[str], now: float) -> bool:
        is_late = now - self._since > CREDIT_WAIT_STREAMING_S
        return bool(self._finishing & streaming) and not is_late

    def _is_awaiting(self, streaming: frozenset[str], now: float, *, may_begin: bool) -> bool:
        """Whether what was asked for has yet to begin; once it has, it is finished as well."""
        if self._awaits_s and not (may_begin and now - self._since <= self._awaits_s):
            self._awaits_s = 0.0
            self._finishing |= streaming
        return self._awaits_s > 0

    def _pause(self, now: float) -> CreditAction:
        if self._paused_at is not None:
            return CreditAction.NOTHING
        self._paused_at = now
        return CreditAction.PAUSE
