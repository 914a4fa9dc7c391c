"""Whichever process is killed: nothing is lost, nothing charged twice. Without resends it is."""

import secrets
from dataclasses import replace

import pytest

from tests.chaos.oracle import Row, Sent, judge
from tests.chaos.run import Plan, chaos

SHORT = Plan(
    seed=0, kills=10, clients=20, accounts=15, fault_pause_s=0.9, group=2, responses=101
)  # fmt: skip
# Only accountd is killed, and it lags more than ever: loss is certain.
UNDER_LAG = replace(SHORT, kills=4, kills_gateways=False, accountd_pause_s=0.25)


@pytest.mark.timeout(180)
def test_nothing_is_lost_or_doubled_whoever_dies() -> None:
    """Ten kills, some stops and a restored database under load, and three gateways."""
    report = chaos(replace(SHORT, seed=secrets.randbits(32), restores=1))
    print(report.table())
    assert report.verdict.lost == []
    assert report.verdict.doubled == []
    assert report.is_clean
    assert report.accountd_kills + report.gateway_kills >= 10
    assert report.restores == 1
    assert report.verdict.charged > 100


@pytest.mark.timeout(180)
def test_without_resends_the_same_chaos_loses_usage() -> None:
    """The control: were this green, the test above would prove nothing."""
    plan = replace(UNDER_LAG, seed=secrets.randbits(32), has_resends=False, settle_s=3)
    report = chaos(plan)
    print(report.table())
    assert len(report.verdict.lost) > 0
    assert report.verdict.doubled == []


# What the provider sent through gateway "g" at 100.0, what became of it, and the verdict.
CASES = [
    ("charged", {"received": {"r"}, "rows": [Row(("r",), 7, False)]}, "clean"),
    ("received and not charged", {"received": {"r"}, "unread_since": {"g": 100.5}}, "lost"),
    ("its gateway lived", {}, "lost"),
    ("its gateway was killed then", {"unread_since": {"g": 100.5}}, "in_flight"),
    ("its gateway was killed later", {"unread_since": {"g": 160.0}}, "lost"),
    ("estimated only", {"received": {"r"}, "rows": [Row(("r",), 7, True)]}, "lost"),
    ("in two rows", {"rows": [Row(("r",), 7, False)] * 2}, "doubled"),
    ("twice in one row", {"rows": [Row(("r", "r"), 14, False)]}, "doubled"),
    ("other tokens", {"rows": [Row(("r",), 8, False)]}, "misstated"),
    ("never sent", {"rows": [Row(("r",), 7, False), Row(("x",), 1, False)]}, "invented"),
]


@pytest.mark.parametrize(("_case", "facts", "expected"), CASES)
def test_the_oracle(_case: str, facts: dict, expected: str) -> None:  # type: ignore[type-arg]
    """Every kind of error is found, and only a read just before a kill is excused."""
    known = {"received": set(), "rows": [], "unread_since": {}, **facts}
    verdict = judge([Sent("r", "g", 100.0, 7)], **known)
    found = {
        name for name in ("lost", "doubled", "invented", "misstated") if getattr(verdict, name)
    }
    if verdict.in_flight:
        found.add("in_flight")
    assert found == ({expected} - {"clean"})
    assert verdict.is_clean == (expected in ("clean", "in_flight"))
