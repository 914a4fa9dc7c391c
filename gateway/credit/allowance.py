"""What a session may do on its account's credit, and what it may finish first. Pure."""

from dataclasses import dataclass

from gateway.credit.credit import CreditStatus
from gateway.limits import CREDIT_WAIT_STREAMING_S


@dataclass(slots=True)
class Allowance:
    """Remembers what was being said when the credit began to allow what it allows."""

    status: CreditStatus = CreditStatus.AVAILABLE
    _finishing: frozenset[str] = frozenset()
    _since: float = 0.0

    def review(self, status: CreditStatus, streaming: frozenset[str], *, now: float) -> bool:
        """Take what the credit allows now; whether something may be finished before that counts.

        What begins later is not waited for: responses that overlap would never end. Nor is one
        whose end does not come within ``CREDIT_WAIT_STREAMING_S``. ``now`` is monotonic seconds.
        """
        if status is not self.status:
            self.status, self._finishing, self._since = status, streaming, now
        return bool(self._finishing & streaming) and now - self._since <= CREDIT_WAIT_STREAMING_S
