"""What sessions saw of one provider, for the operator: dials, failures. Pure.

Beside ``health``, which judges by it: this is kept of every provider, and nothing is decided by it.
Times are monotonic seconds.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from shared.provider_reports import DIALS_MAX, REASON_CHARS_MAX, ReportedFailure

# Dials that are older say nothing of how the provider is now.
DIALS_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class _Seen:
    at: float
    kind: str
    reason: str


class Observations:
    """The latest dials of one provider, and its failures."""

    __slots__ = ("_dials", "_last", "failures")

    def __init__(self) -> None:
        self._dials: deque[tuple[float, float]] = deque(maxlen=DIALS_MAX)
        self._last: _Seen | None = None
        self.failures: dict[str, int] = {}  # by kind

    def dialled(self, latency_s: float, now: float) -> None:
        """A dial was answered after ``latency_s`` seconds."""
        self._dials.append((now, latency_s))

    def failed(self, kind: str, reason: str, now: float) -> None:
        """A dial failed, or a connection broke."""
        self.failures[kind] = self.failures.get(kind, 0) + 1
        self._last = _Seen(now, kind, reason[:REASON_CHARS_MAX])

    def dials_ms(self, now: float) -> list[int]:
        """The times of the latest dials, none older than ``DIALS_S``."""
        return [round(1000 * taken) for at, taken in self._dials if now - at <= DIALS_S]

    def last_failure(self, now: float) -> ReportedFailure | None:
        """The latest failure; None where there was none."""
        if self._last is None:
            return None
        age_ms = round(1000 * max(0.0, now - self._last.at))
        return ReportedFailure(self._last.kind, self._last.reason, age_ms)
