"""Gateways that report, fall silent, stop and come back, in any order."""

from hypothesis import given
from hypothesis import strategies as st

from accountd.fleet.gateways import Gateways
from shared.provider_reports import KEPT_S, GatewayReport, ProviderReport, ReportedHealth

NAMES = st.sampled_from(["a", "b", "c"])
# (seconds since the step before, the gateway, its sessions; none: it stops)
STEPS = st.lists(st.tuples(st.floats(0, KEPT_S), NAMES, st.none() | st.integers(0, 9)))


@given(STEPS)
def test_what_is_shown_is_the_newest_report_of_each_gateway_that_is_there(
    steps: list[tuple[float, str, int | None]],
) -> None:
    """Those that have said that they stop, or nothing for too long, are not among them."""
    gateways, now = Gateways(), 0.0
    newest: dict[str, tuple[float, int]] = {}
    for pause_s, name, sessions in steps:
        now += pause_s
        newest.pop(name, None)
        reports = []
        if sessions is not None:
            newest[name] = now, sessions
            reports = [ProviderReport("openai", ReportedHealth.HEALTHY, sessions=sessions)]
        gateways.heard(GatewayReport(name, reports), now=now)
        there = {name: n for name, (at, n) in newest.items() if now - at <= KEPT_S}
        rows = gateways.overview({}, now=now, now_ms=0)
        found = rows.get("openai", {"by_gateway": [], "sessions": 0})
        assert {each["gateway"]: each["sessions"] for each in found["by_gateway"]} == there
        assert found["sessions"] == sum(there.values())
        assert gateways.count(now=now) == len(there)
