"""What was seen of one attack, and what is wrong with it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.chaos.abuse.kinds import Kind

HANDSHAKE_MAX_S = 1.0
GONE_FACTOR = 2
Sample = tuple[float, float]
"""When it began, and how long it took, in seconds."""


@dataclass
class Seen:
    """What was seen. Times are the system's monotonic clock."""

    kind: Kind
    begun: float = 0.0
    ended: float = 0.0
    handshakes: Sequence[Sample] = ()
    round_trips: Sequence[Sample] = ()
    failures: Sequence[str] = ()
    refused: int = 0
    answers: int = 0
    charged: int = 0
    before_mib: float = 0.0
    peak_mib: float = 0.0
    after_mib: float = 0.0
    cpu: float = 0.0
    seen: int = 0
    """Abusers at once, at most."""
    gone_s: float = 0.0
    left: int = 0
    """Abusers that were still there at the end."""
    complaints: Sequence[str] = ()
    is_audit_ok: bool = True
    skipped: str = ""

    def problems(self) -> list[str]:
        """Everything that is not as it has to be."""
        if self.skipped:
            return []
        return [*self._of_honest(), *self._of_abusers(), *self._of_gateway()]

    def row(self) -> tuple[str, ...]:
        """The line of the table."""
        kind = self.kind
        if self.skipped:
            return (kind.name, str(kind.count), "skipped: " + self.skipped, *[""] * 7)
        problems = self.problems()
        return (
            kind.name,
            f"{kind.count:,}",
            _milliseconds(self._during(self.handshakes)),
            _milliseconds(self._before(self.round_trips)),
            _milliseconds(self._during(self.round_trips)),
            f"{self.before_mib:.0f}, {self.peak_mib:.0f}, {self.after_mib:.0f}",
            f"{self.cpu:.0%}",
            "-" if kind.deadline_s is None else f"{self.gone_s:.1f}",
            "-" if kind.deadline_s is None else f"{kind.deadline_s:g}",
            "FAIL" if problems else "PASS",
        )

    def _of_honest(self) -> list[str]:
        found = [f"honest: {failure}" for failure in self.failures[:3]]
        during = self._during(self.handshakes)
        if not during or not self._during(self.round_trips):
            found.append("the honest client was not there meanwhile")
        elif (slow := percentile(during, 99)) >= HANDSHAKE_MAX_S:
            found.append(f"handshakes took {slow:.2f} s")
        if self.charged != self.answers:
            found.append(f"{self.answers} answers, {self.charged} charged")
        return found

    def _of_abusers(self) -> list[str]:
        deadline = self.kind.deadline_s
        if not self.seen:
            return ["there was no abuser"]
        if deadline is None:
            return []
        if self.left and not self.kind.is_repeated:
            return [f"{self.left} abusers were left"]
        late = self.gone_s > GONE_FACTOR * deadline
        return [f"gone after {self.gone_s:.1f} s, due after {deadline:g}"] if late else []

    def _of_gateway(self) -> list[str]:
        found = [f"log: {line}" for line in self.complaints[:3]]
        grown = self.peak_mib - self.before_mib
        if grown > self.kind.memory_mib:
            found.append(f"{grown:.0f} MiB more, {self.kind.memory_mib} at most")
        if self.kind.cpu_max is not None and self.cpu > self.kind.cpu_max:
            found.append(f"CPU {self.cpu:.0%}")
        if not self.is_audit_ok:
            found.append("audit failed")
        return found

    def _during(self, samples: Sequence[Sample]) -> list[float]:
        return [took for at, took in samples if self.begun <= at <= self.ended]

    def _before(self, samples: Sequence[Sample]) -> list[float]:
        return [took for at, took in samples if at < self.begun]


HEAD = (
    "attack", "count", "handshake p50/p99/max ms", "relay before", "during", "RSS MiB", "CPU",
    "gone s", "deadline s", "",
)  # fmt: skip


def table(found: Sequence[Seen]) -> str:
    """All of it as text."""
    rows = [HEAD, *(seen.row() for seen in found)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest of the ``values`` that so many percent do not exceed."""
    ranked = sorted(values)
    return ranked[max(0, -(-len(ranked) * percent // 100) - 1)]


def _milliseconds(values: Sequence[float]) -> str:
    if not values:
        return "none"
    shown = (percentile(values, 50), percentile(values, 99), max(values))
    return "/".join(f"{1000 * value:.0f}" for value in shown)
