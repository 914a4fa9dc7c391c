"""When estimates are charged, and what is asked about them."""

from typing import Any

import pytest

from accountd.ledger import group_commit
from accountd.ledger.decision import decide_retry
from accountd.ledger.decision_types import Rejection, Retried
from accountd.ledger.estimates import EstimatePolicy
from accountd.reports import queries
from shared.fields import RejectReason
from shared.rate_card import read_rates
from shared.usage import ESTIMATES, Kind, Usage
from tests.support.database import empty_database
from tests.support.memory_ledger import NOW, Memory, P, sent, usage

HOUR = 3_600_000
BOUNDS = [
    # when estimates of 10 credits were metered, in ms; the credits that each one takes; begun
    ("up to the bound", (1, 2, 3), (0, 0, 0), False),
    ("beyond it", (1, 2, 3, 4), (0, 0, 0, 10), True),
    ("for good", (1, 2, 3, 4, 4 + 9 * HOUR), (0, 0, 0, 10, 10), True),
    ("an hour later", (0, 1, 2, HOUR), (0, 0, 0, 0), False),
    ("a millisecond less", (0, 1, 2, HOUR - 1), (0, 0, 0, 10), True),
    ("out of order", (HOUR, HOUR + 1, HOUR + 2, 0), (0, 0, 0, 0), False),
]


@pytest.mark.parametrize(("what", "times", "taken", "begun"), BOUNDS)
@pytest.mark.parametrize("grouped", [True, False])
def test_an_account_is_let_off_few_estimates_in_an_hour(
    what: str, times: tuple[int, ...], taken: tuple[int, ...], begun: bool, grouped: bool
) -> None:
    """By the gateways' clocks, of every kind of estimate, in one group or message by message."""
    memory, kinds = Memory(), sorted(ESTIMATES)
    messages = [
        *(sent(n, payload=usage(kind=kinds[n % 3], metered_at_ms=at))[0]
          for n, at in enumerate(times, start=1)),
    ]  # fmt: skip
    for group in [messages] if grouped else [[m] for m in messages]:
        memory.apply(*group)
    assert tuple(row.deduction.topup for row in memory.rows) == taken, what
    assert tuple(row.waived for row in memory.rows) == tuple(10 - t for t in taken)
    assert ("a" in memory.begun) == begun


def test_the_bound_counts_responses_and_only_what_costs_something() -> None:
    """A batch that would pass it is charged whole; estimates that are free anyway do not count."""
    memory, policy = Memory(), EstimatePolicy(uncharged_max=2)
    free = usage(0, kind="estimate")
    memory.apply(*sent(1, 2, 3, payload=free), estimates=policy)
    memory.apply(*sent(4, payload=usage(kind="estimate", responses=2)), estimates=policy)
    assert memory.begun == {}
    memory.apply(*sent(5, payload=usage(kind="estimate", responses=1)), estimates=policy)
    assert [row.waived for row in memory.rows] == [0, 0, 0, 10, 0]
    assert memory.begun == {"a": NOW}


def test_estimates_are_asked_about_only_where_there_are_some() -> None:
    """And only as far back as they matter; a refused one lets nobody off."""
    memory = Memory()
    memory.apply(*sent(1, 2))
    memory.apply(*sent(3, payload=usage(kind="estimate")), estimates=EstimatePolicy(True))
    assert memory.estimates_asked == []
    later = [usage(kind="estimate", metered_at_ms=HOUR + n) for n in (9, 5)]
    stranger = usage(kind="estimate", account_id="nobody")
    decision = memory.apply(
        *(sent(n, payload=p)[0] for n, p in enumerate([*later, stranger], start=4))
    )
    assert memory.estimates_asked == [{"a": 5, "nobody": -HOUR}]
    assert decision.rejected == {RejectReason.UNKNOWN_ACCOUNT: 1}


def test_a_retried_estimate_counts_like_any_other() -> None:
    """It is let off within the bound, charged beyond it."""
    memory, policy = Memory(), EstimatePolicy(uncharged_max=1)
    payload = usage(kind="estimate")
    waiting = Rejection(P, 9, RejectReason.UNKNOWN_ACCOUNT, "", payload, NOW)
    for waived, begun in ((10, []), (0, ["a"])):
        decided = decide_retry(waiting, state=memory, estimates=policy)
        assert isinstance(decided, Retried)
        assert (decided.charge.waived, decided.estimates_begun) == (waived, begun)
        memory.apply(*sent(1, payload=payload), estimates=policy)


RETRIED = [
    # what a doubtful row was; what its second costs by a card; whether it is let off
    ("", 2_000, 0),  # of a gateway that does not say it
    (Kind.DURATION, 2_000, 0),
    (Kind.TRANSCRIPTION, 3_000, 0),
    (Kind.ESTIMATED_TRANSCRIPTION, 0, 3_000),
]
SECONDS = b"""
version = "v"
[[rates]]
session_second = 2_000_000_000
transcription_second = 3_000_000_000
"""


@pytest.mark.parametrize(("kind", "charged", "waived"), RETRIED)
def test_a_doubtful_row_is_priced_as_what_it_was(kind: str, charged: int, waived: int) -> None:
    """A second of a transcription is none of a session, and an estimate is still one."""
    payload = usage(
        kind=Kind.DOUBTFUL, doubtful_kind=kind, usage=Usage(billed_ms=1_000),
    )  # fmt: skip
    waiting = Rejection(P, 9, RejectReason.DOUBTFUL, "", payload, NOW)
    decided = decide_retry(waiting, state=Memory(), rates=read_rates(SECONDS))
    assert isinstance(decided, tuple)
    charge = decided.charge
    assert charge.batch.kind == (kind or Kind.RESPONSE)
    assert (charge.deduction.topup + charge.deduction.tokens, charge.waived) == (charged, waived)


@pytest.mark.parametrize(
    ("kind", "doubtful"), [("response", "response"), ("doubtful", "doubtful"), ("doubtful", "lost")]
)
def test_a_doubtful_row_was_something_that_can_be_charged(kind: str, doubtful: str) -> None:
    """Anything else is kept as a bad field."""
    decision = Memory().apply(*sent(1, payload=usage(kind=kind, doubtful_kind=doubtful)))
    assert decision.rejected == {RejectReason.BAD_FIELD: 1}


QUESTIONS = [
    (group_commit._READ_WAIVED, ("a", 0)),
    (queries._ESTIMATES, {"account": "a", "low": 0, "high": 1}),
]


@pytest.mark.parametrize(("statement", "values"), QUESTIONS)
def test_estimates_are_read_from_an_index(statement: str, values: Any) -> None:
    """Also where an account has a million other rows."""
    with empty_database() as opened:
        plan = str(opened.execute_sql(f"EXPLAIN QUERY PLAN {statement}", values).fetchall())
    assert "INDEX usage_estimates_index (account=? AND metered_at" in plan
