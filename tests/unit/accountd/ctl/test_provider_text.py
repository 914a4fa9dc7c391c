"""What ``accountctl providers`` prints."""

from typing import Any

from accountd.ctl.provider_text import drained_text, overview_text, resumed_text

OPENAI: dict[str, Any] = {
    "provider": "openai", "drained_at": "2027-01-15T08:00:00.000Z", "health": "healthy",
    "gateways": 2, "sessions": 1_212, "calls": 3, "bound": 12, "dials": 200, "dial_p50_ms": 85,
    "dial_p95_ms": 310, "answer_p50_ms": 740, "answer_p95_ms": 1_510,
    "failures": {"dial": 3, "connection": 1},
    "last_failure": {
        "at": "2027-01-15T07:12:09.114Z", "kind": "dial", "gateway": "gw-1",
        "reason": "refused the connection: 503",
    },
    "only_for": ["gpt-realtime-mini"], "only_for_more": 2, "has_choice": True,
    "by_gateway": [
        {"gateway": "gw-1", "health": "healthy", "reason": "", "sessions": 1_200},
        {"gateway": "gw-2", "health": "healthy", "reason": "", "sessions": 12},
    ],
}  # fmt: skip
XAI: dict[str, Any] = {
    **OPENAI, "provider": "xai", "drained_at": None, "health": "unhealthy at 1 of 2",
    "sessions": 3, "calls": 0, "dial_p50_ms": None, "dial_p95_ms": None,
    "answer_p50_ms": None, "answer_p95_ms": None, "failures": {},
    "last_failure": None,
    "by_gateway": [
        {"gateway": "gw-2", "health": "unhealthy", "reason": "3 dials in a row", "sessions": 0},
    ],
}  # fmt: skip
OVERVIEW = """\
provider  health               drained  gateways  sessions  calls  dial ms p50/p95  answer ms p50/p95  failures
--------  -------------------  -------  --------  --------  -----  ---------------  -----------------  --------
openai    healthy              yes             2     1,212      3  85 / 310         740 / 1,510               4
xai       unhealthy at 1 of 2  no              2         3      0  -                -                         0
openai failed last 2027-01-15T07:12:09.114Z at gw-1 (dial): refused the connection: 503
openai is drained since 2027-01-15T08:00:00.000Z: 1,200 sessions leave between turns, 12 sessions and 3 calls stay until they end
openai still serves, as nobody else does: gpt-realtime-mini and 2 more
xai is unhealthy at gw-2: 3 dials in a row"""  # noqa: E501 - as wide as it is printed
DRAINED = """\
openai is drained: gateways obey within 2 s
1,212 sessions and 3 calls at 2 gateways; watch them leave: accountctl providers
openai still serves, as nobody else does: gpt-realtime-mini and 2 more"""


def test_the_overview_has_a_line_for_each_provider_and_says_why_below() -> None:
    """A drained one says who leaves and who stays."""
    assert overview_text({"gateways": 2, "providers": [OPENAI, XAI]}) == OVERVIEW


def test_no_gateway_is_no_empty_table() -> None:
    """After a restart of accountd it takes a moment."""
    assert overview_text({"gateways": 0, "providers": []}) == (
        "no gateway has reported yet; each does every 2 s"
    )


def test_a_drain_says_what_it_does_not_do() -> None:
    """Models that only this provider serves; or that it changes nothing at all."""
    row = {**OPENAI, "changed": True}
    assert drained_text(row) == DRAINED
    again = drained_text({**row, "changed": False})
    assert "is drained (since 2027-01-15T08:00:00.000Z)" in again
    assert "WARNING: no model has another provider" in drained_text({**row, "has_choice": False})
    nowhere = {**row, "gateways": 0, "sessions": 0, "has_choice": False, "only_for": []}
    assert drained_text(nowhere).endswith("no gateway has it now")


def test_a_resumed_provider_says_since_when_it_was_drained() -> None:
    """So that the log of a provider can be compared."""
    found = {"provider": "openai", "was_drained_at": "2027-01-15T08:00:00.000Z"}
    assert resumed_text(found).startswith("openai is in service again (drained since 2027")
