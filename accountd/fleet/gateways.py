"""The newest report of each gateway, and what they say together of each provider. Pure.

A gateway that has not reported for ``KEPT_S`` is gone; one that stops says so, by a report without
providers. Times are monotonic seconds, but where a name ends in ``_ms``: Unix time.
"""

import math
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from accountd.times import iso_of_ms
from shared.provider_reports import KEPT_S, GatewayReport, ProviderReport, ReportedHealth

# Far more gateways than one accountd serves: each reports every two seconds.
GATEWAYS_MAX: Final = 1_000
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Heard:
    gateway: str
    at: float
    provider: ProviderReport


class Gateways:
    """The gateways that report."""

    def __init__(self) -> None:
        # In the order of their newest report.
        self._reports: OrderedDict[str, tuple[float, GatewayReport]] = OrderedDict()

    def heard(self, report: GatewayReport, *, now: float) -> None:
        """A gateway has reported."""
        self._reports.pop(report.gateway, None)
        if report.providers:
            self._reports[report.gateway] = now, report
        if len(self._reports) > GATEWAYS_MAX:
            self._reports.popitem(last=False)
        self._forget(now)

    def count(self, *, now: float) -> int:
        """How many gateways there are. It only reads: metrics do so from a thread of their own."""
        return sum(now - at <= KEPT_S for at, _ in list(self._reports.values()))

    def providers(self, *, now: float) -> set[str]:
        """The names of the providers that gateways have."""
        return set(self._by_provider(now))

    def overview(
        self, drained_at: Mapping[str, str], *, now: float, now_ms: int
    ) -> dict[str, Json]:
        """Each provider that a gateway has, or that is drained, as accountctl shows it."""
        by_provider = self._by_provider(now)
        ago = {name: now_ms - 1000 * (now - at) for name, (at, _) in self._reports.items()}
        return {
            name: _row(name, by_provider.get(name, []), drained_at.get(name), ago)
            for name in sorted({*by_provider, *drained_at})
        }

    def _by_provider(self, now: float) -> dict[str, list[_Heard]]:
        self._forget(now)
        found: dict[str, list[_Heard]] = {}
        for at, report in self._reports.values():
            for provider in report.providers:
                found.setdefault(provider.name, []).append(_Heard(report.gateway, at, provider))
        return found

    def _forget(self, now: float) -> None:
        while self._reports:
            name, (at, _) = next(iter(self._reports.items()))
            if now - at <= KEPT_S:
                return
            del self._reports[name]


def percentile(values: Sequence[int], share: float) -> int | None:
    """The least of ``values`` that ``share`` of them do not exceed; None where there are none."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else None


def _row(
    name: str, heard: Sequence[_Heard], drained_at: str | None, reported_ms: Mapping[str, float]
) -> Json:
    """One provider: sums over gateways; the dials of all together; the latest failure of any."""
    reports = [each.provider for each in heard]
    dials = [ms for report in reports for ms in report.dials_ms]
    answers = [ms for report in reports for ms in report.answers_ms]
    failures: Counter[str] = Counter()
    for report in reports:
        failures.update(report.failures)
    only_for = {model for report in reports for model in report.only_for}
    return {
        "provider": name,
        "drained_at": drained_at,
        "health": _health(report.health for report in reports),
        "gateways": len(heard),
        "sessions": sum(report.sessions for report in reports),
        "calls": sum(report.calls for report in reports),
        "bound": sum(report.bound for report in reports),
        "dials": len(dials),
        "dial_p50_ms": percentile(dials, 0.50),
        "dial_p95_ms": percentile(dials, 0.95),
        "answers": len(answers),
        "answer_p50_ms": percentile(answers, 0.50),
        "answer_p95_ms": percentile(answers, 0.95),
        "failures": dict(sorted(failures.items())),
        "last_failure": _last_failure(heard, reported_ms),
        "only_for": sorted(only_for),
        "only_for_more": max((r.only_for_total - len(r.only_for) for r in reports), default=0),
        "has_choice": any(report.has_choice for report in reports),
        "by_gateway": [
            {
                "gateway": each.gateway,
                "health": each.provider.health.value,
                "reason": each.provider.reason,
                "sessions": each.provider.sessions,
            }
            for each in sorted(heard, key=lambda each: each.gateway)
        ],
    }


def _health(found: Iterable[ReportedHealth]) -> str | None:
    """What all gateways say; the trouble, and at how many of them, where they do not agree."""
    states = Counter(found)
    if len(states) <= 1:
        return next((state.value for state in states), None)
    judged = {state: n for state, n in states.items() if state is not ReportedHealth.NOT_JUDGED}
    troubled = sum(n for state, n in judged.items() if state is not ReportedHealth.HEALTHY)
    if not troubled:
        return ReportedHealth.HEALTHY.value
    return f"{ReportedHealth.UNHEALTHY.value} at {troubled} of {sum(states.values())}"


def _last_failure(heard: Iterable[_Heard], reported_ms: Mapping[str, float]) -> Json | None:
    failed = [
        (reported_ms[each.gateway] - failure.age_ms, each.gateway, failure)
        for each in heard
        if (failure := each.provider.last_failure) is not None
    ]
    if not failed:
        return None
    at_ms, gateway, failure = max(failed, key=lambda found: found[0])
    return {
        "at": iso_of_ms(round(at_ms)),
        "kind": failure.kind,
        "reason": failure.reason,
        "gateway": gateway,
    }
