"""Which gateways count, which of them have obeyed, and what ended there."""

import pytest

from accountd.accounts import confirmations as module
from accountd.accounts.confirmations import KEPT_S, Confirmations, Outcome


def test_a_gateway_has_obeyed_what_it_asks_beyond() -> None:
    """It asks for what comes after the last that it knows; one that knows none has obeyed none."""
    confirmations = Confirmations()
    for gateway, since in {"a": 7, "b": 6, "c": None}.items():
        confirmations.asked(gateway, since, {}, now=0.0)
    assert confirmations.outcome(7, now=1.0) == Outcome(gateways=3, confirmed=1, ended=0)
    confirmations.asked("b", 9, {}, now=1.0)
    assert confirmations.outcome(7, now=1.0) == Outcome(gateways=3, confirmed=2, ended=0)


def test_what_ended_counts_once_for_each_gateway() -> None:
    """One whose question was not answered says it again."""
    confirmations = Confirmations()
    for _ in range(2):
        confirmations.asked("a", 7, {7: 20, 6: 1}, now=0.0)
    confirmations.asked("b", 7, {7: 3}, now=0.0)
    assert confirmations.outcome(7, now=0.0) == Outcome(gateways=2, confirmed=2, ended=23)


def test_a_gateway_that_asks_no_more_is_gone() -> None:
    """What ended there has ended all the same."""
    confirmations = Confirmations()
    confirmations.asked("a", 6, {}, now=0.0)
    confirmations.asked("b", 7, {7: 3}, now=0.0)
    assert confirmations.outcome(7, now=KEPT_S).gateways == 2
    assert confirmations.outcome(7, now=KEPT_S + 0.1) == Outcome(0, 0, ended=3)


def test_a_gateway_that_stops_is_gone_at_once() -> None:
    """Nobody waits for it."""
    confirmations = Confirmations()
    confirmations.asked("a", 6, {}, now=0.0)
    confirmations.left("a")
    confirmations.left("never there")
    assert confirmations.outcome(7, now=0.0) == Outcome(0, 0, 0)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are forgotten."""
    monkeypatch.setattr(module, "GATEWAYS_MAX", 2)
    monkeypatch.setattr(module, "RECALLS_KEPT_MAX", 2)
    confirmations = Confirmations()
    for number in range(1, 4):
        confirmations.asked(f"gateway-{number}", number, {number: 1}, now=0.0)
    assert confirmations.outcome(1, now=0.0) == Outcome(gateways=2, confirmed=2, ended=0)
    assert confirmations.outcome(3, now=0.0) == Outcome(gateways=2, confirmed=1, ended=1)
