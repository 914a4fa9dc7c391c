"""What the reports of several gateways say together."""

from typing import Any

import pytest

from accountd.fleet.gateways import GATEWAYS_MAX, Gateways, percentile
from shared.provider_reports import (
    KEPT_S,
    GatewayReport,
    ProviderReport,
    ReportedFailure,
    ReportedHealth,
)

HEALTHY, UNHEALTHY, PROBED, NOT_JUDGED = ReportedHealth
NOW_MS = 1_800_000_000_000


def reported(*reports: GatewayReport, at: float = 0.0) -> Gateways:
    """Gateways that have reported at one moment."""
    gateways = Gateways()
    for report in reports:
        gateways.heard(report, now=at)
    return gateways


def of(gateway: str, health: ReportedHealth = HEALTHY, **others: Any) -> GatewayReport:
    """A gateway with one provider."""
    return GatewayReport(gateway, [ProviderReport("openai", health, **others)])


def row(gateways: Gateways, *, now: float = 0.0) -> dict[str, Any]:
    """What is known of that provider."""
    return gateways.overview({}, now=now, now_ms=NOW_MS)["openai"]


def test_numbers_of_gateways_are_added_and_their_dials_looked_at_together() -> None:
    """A median of medians would be of no dial that anybody made."""
    found = row(
        reported(
            of("a", sessions=3, bound=1, dials_ms=[10, 20, 30], failures={"dial": 2}),
            of("b", sessions=4, dials_ms=[500], failures={"dial": 1, "connection": 5}),
            of("c", answers_ms=[7]),
        )
    )
    assert (found["gateways"], found["sessions"], found["bound"]) == (3, 7, 1)
    assert (found["dials"], found["dial_p50_ms"], found["dial_p95_ms"]) == (4, 20, 500)
    assert (found["answers"], found["answer_p50_ms"], found["answer_p95_ms"]) == (1, 7, 7)
    assert found["failures"] == {"connection": 5, "dial": 3}


@pytest.mark.parametrize(
    ("values", "p50", "p95"),
    [([], None, None), ([7], 7, 7), ([2, 1], 1, 2), (list(range(1, 101)), 50, 95)],
)
def test_a_percentile_is_a_value_that_was_measured(
    values: list[int], p50: int | None, p95: int | None
) -> None:
    """The least one that so many do not exceed."""
    assert (percentile(values, 0.50), percentile(values, 0.95)) == (p50, p95)


@pytest.mark.parametrize(
    ("states", "shown"),
    [
        ([HEALTHY, HEALTHY], "healthy"),
        ([UNHEALTHY, UNHEALTHY], "unhealthy"),
        ([HEALTHY, UNHEALTHY, PROBED], "unhealthy at 2 of 3"),
        ([HEALTHY, NOT_JUDGED], "healthy"),
        ([NOT_JUDGED], "not judged"),
        ([PROBED], "probed"),
    ],
)
def test_trouble_at_some_gateways_is_shown_as_such(
    states: list[ReportedHealth], shown: str
) -> None:
    """The network of one may fail, and not the provider."""
    gateways = reported(*(of(f"g{n}", state) for n, state in enumerate(states)))
    assert row(gateways)["health"] == shown


def test_the_last_failure_is_the_latest_of_all_gateways() -> None:
    """By the age that each gateway tells, and the time since its report."""
    gateways = reported(of("a", last_failure=ReportedFailure("dial", "503", 5_000)))
    gateways.heard(of("b", last_failure=ReportedFailure("dial", "502", 9_000)), now=2.0)
    gateways.heard(of("c"), now=2.0)
    assert row(gateways, now=3.0)["last_failure"] == {
        "at": "2027-01-15T07:59:52.000Z", "kind": "dial", "reason": "503", "gateway": "a",
    }  # fmt: skip


def test_models_without_another_provider_are_named_once() -> None:
    """Gateways may have different models files, and each names some of many."""
    found = row(
        reported(
            of("a", only_for=["x", "y"], only_for_total=5),
            of("b", only_for=["y"], only_for_total=1, has_choice=True),
        )
    )
    assert (found["only_for"], found["only_for_more"], found["has_choice"]) == (["x", "y"], 3, True)


def test_a_gateway_that_is_silent_or_stops_is_gone() -> None:
    """Its sessions are no longer counted; one that reports again is back."""
    gateways = reported(of("a"), of("b"), of("c"))
    gateways.heard(of("b"), now=KEPT_S)
    gateways.heard(GatewayReport("c", []), now=KEPT_S)
    assert gateways.count(now=KEPT_S) == 2
    assert gateways.count(now=KEPT_S + 0.1) == 1
    assert row(gateways, now=KEPT_S + 0.1)["by_gateway"][0]["gateway"] == "b"
    assert gateways.providers(now=3 * KEPT_S) == set()
    gateways.heard(of("a"), now=3 * KEPT_S)
    assert gateways.providers(now=3 * KEPT_S) == {"openai"}


def test_a_drained_provider_is_shown_although_no_gateway_has_it() -> None:
    """The operator may have forgotten it."""
    found = reported(of("a")).overview({"xai": "2026-01-01"}, now=0.0, now_ms=NOW_MS)
    assert list(found) == ["openai", "xai"]
    assert (found["xai"]["drained_at"], found["xai"]["gateways"]) == ("2026-01-01", 0)
    assert (found["xai"]["health"], found["openai"]["drained_at"]) == (None, None)


def test_gateways_are_bounded() -> None:
    """Whatever names they have; the oldest is forgotten."""
    gateways = reported(*(of(f"g{n}") for n in range(GATEWAYS_MAX + 1)))
    assert gateways.count(now=0.0) == GATEWAYS_MAX
    assert "g0" not in {each["gateway"] for each in row(gateways)["by_gateway"]}
