"""What sessions saw of one provider, for the operator: dials, answers, failures. Pure.

Beside ``health``, which judges by it: this is kept of every provider, and nothing is decided by it.
Times are monotonic seconds.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from shared.provider_reports import REASON_CHARS_MAX, TIMES_MAX, ReportedFailure

# Dials and answers that are older say nothing of how the provider is now.
RECENT_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class _Seen:
    at: float
    kind: str
    reason: str


class Observations:
    """The latest dials and answers of one provider, and its failures."""

    __slots__ = ("_answers", "_dials", "_last", "failures")

    def __init__(self) -> None:
        self._dials: deque[tuple[float, float]] = deque(maxlen=TIMES_MAX)
        self._answers: deque[tuple[float, float]] = deque(maxlen=TIMES_MAX)
        self._last: _Seen | None = None
        self.failures: dict[str, int] = {}  # by kind

    def dialled(self, latency_s: float, now: float) -> None:
        """A dial was answered after ``latency_s`` seconds."""
        self._dials.append((now, latency_s))

    def answered(self, wait_s: float, now: float) -> None:
        """An answer began ``wait_s`` seconds after the user's speech had ended."""
        self._answers.append((now, wait_s))

    def failed(self, kind: str, reason: str, now: float) -> None:
        """A dial failed, or a connection broke."""
        self.failures[kind] = self.failures.get(kind, 0) + 1
        self._last = _Seen(now, kind, reason[:REASON_CHARS_MAX])

    def dials_ms(self, now: float) -> list[int]:
        """The times of the latest dials, none older than ``RECENT_S``."""
        return _recent_ms(self._dials, now)

    def answers_ms(self, now: float) -> list[int]:
        """Likewise of the latest answers."""
        return _recent_ms(self._answers, now)

    def last_failure(self, now: float) -> ReportedFailure | None:
        """The latest failure; None where there was none."""
        if self._last is None:
            return None
        age_ms = round(1000 * max(0.0, now - self._last.at))
        return ReportedFailure(self._last.kind, self._last.reason, age_ms)


def _recent_ms(times: Iterable[tuple[float, float]], now: float) -> list[int]:
    return [round(1000 * taken_s) for at, taken_s in times if now - at <= RECENT_S]
