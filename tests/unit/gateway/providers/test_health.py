"""When a provider is left alone, and when it is tried again."""

from collections.abc import Callable

import pytest

from gateway.providers.health import (
    FAILURES_MAX,
    OPEN_S,
    OPEN_S_MAX,
    PROBE_S,
    SLOW_ANSWER_S,
    SLOW_S,
    TRANSITIONS,
    Failure,
    Health,
    HealthChange,
    HealthRule,
    HealthState,
    ProviderHealth,
    Standing,
)

SLOW_MAX = FAILURES_MAX
FAST, SLOW = SLOW_S / 2, SLOW_S * 2


def failed(health: Health, now: float = 0.0) -> Health:
    """One that has just become unhealthy at ``now``."""
    for _ in range(FAILURES_MAX):
        health.failed(now, "no answer")
    assert health.state is HealthState.UNHEALTHY
    return health


def test_the_table_knows_every_state() -> None:
    """A state that is missing there could not be left."""
    assert set(TRANSITIONS) == set(HealthState)
    assert set().union(*TRANSITIONS.values()) == set(HealthState)


def test_a_provider_is_left_alone_after_three_failures_in_a_row() -> None:
    """The original's rule; a dial that succeeds in between begins a new row."""
    health = Health()
    for _ in range(FAILURES_MAX - 1):
        health.failed(1.0, "no answer")
    health.succeeded(FAST, 1.0)
    health.failed(1.0, "no answer")
    assert health.is_available(1.0)
    failed(Health(), 1.0)


def test_one_slow_dial_is_not_enough() -> None:
    """A row of them is; a fast one ends the row."""
    health = Health()
    for latency_s in (*[SLOW] * (SLOW_MAX - 1), FAST, *[SLOW] * (SLOW_MAX - 1)):
        health.succeeded(latency_s, 0.0)
    assert health.state is HealthState.HEALTHY
    health.succeeded(SLOW, 0.0)
    assert not health.is_available(0.0)
    assert "0.5 s" in health.reason


def test_a_dial_of_exactly_the_bound_is_fast() -> None:
    """The rule says over 500 ms."""
    health = Health()
    for _ in range(2 * SLOW_MAX):
        health.succeeded(SLOW_S, 0.0)
    assert health.state is HealthState.HEALTHY


def test_an_operator_may_set_another_rule() -> None:
    """A gateway may be far from the provider, or its operator impatient."""
    health = Health(HealthRule(slow_s=2 * SLOW, failures_max=1))
    health.succeeded(SLOW, 0.0)
    assert health.is_available(0.0)
    health.failed(0.0, "no answer")
    assert not health.is_available(0.0)


@pytest.mark.parametrize(
    ("kind", "other"),
    [(Failure.CONNECTION, Failure.RESPONSE), (Failure.RESPONSE, Failure.CONNECTION)],
)
def test_dials_do_not_hide_that_all_else_fails(kind: Failure, other: Failure) -> None:
    """Each kind of failure has its own row, which only what went well of that kind ends."""
    health = Health()
    for _ in range(FAILURES_MAX - 1):
        health.failed(0.0, "broke", kind)
        health.succeeded(FAST, 0.0)
        health.served(other)
    health.served(kind)
    for _ in range(FAILURES_MAX - 1):
        health.failed(0.0, "broke", kind)
        health.succeeded(FAST, 0.0)
    assert health.state is HealthState.HEALTHY
    health.failed(0.0, "broke", kind)
    assert not health.is_available(0.0)


def test_one_session_at_a_time_tries_it_again() -> None:
    """While the probe dials no other session does."""
    health = failed(Health())
    assert not health.admits(OPEN_S - 1)
    assert health.admits(OPEN_S)
    assert not health.is_available(OPEN_S)
    assert not health.admits(OPEN_S)
    health.succeeded(FAST, OPEN_S + 1)
    assert health.state is HealthState.HEALTHY
    assert health.admits(OPEN_S + 1)
    assert health.reason == ""


@pytest.mark.parametrize(
    "verdict",
    [lambda h, now: h.succeeded(SLOW, now), lambda h, now: h.failed(now, "no answer")],
    ids=["slow", "failed"],
)
def test_a_probe_that_is_not_good_doubles_the_wait(
    verdict: Callable[[Health, float], None],
) -> None:
    """Up to a bound; only a fast dial is good."""
    health, now, waits = failed(Health()), 0.0, []
    for _ in range(8):
        began = now
        while not health.admits(now):
            now += 1.0
        waits.append(now - began)
        verdict(health, now)
    assert waits == [min(OPEN_S * 2**n, OPEN_S_MAX) for n in range(8)]


def test_a_probe_that_is_given_up_leaves_its_place_to_the_next() -> None:
    """At once where that is known, and after a while where nothing was heard of it."""
    health = failed(Health())
    assert health.admits(OPEN_S)
    health.given_up()
    assert health.admits(OPEN_S)
    assert not health.admits(OPEN_S + PROBE_S - 1)
    assert health.admits(OPEN_S + PROBE_S)


def test_relapses_wait_longer_unless_it_was_good_for_long() -> None:
    """A provider that flaps is left alone for longer each time."""
    health = failed(Health(), 0.0)
    assert health.admits(OPEN_S)
    health.succeeded(FAST, OPEN_S)
    failed(health, OPEN_S)
    assert not health.is_available(OPEN_S + 2 * OPEN_S - 1)
    assert health.admits(3 * OPEN_S)
    health.succeeded(FAST, 3 * OPEN_S)
    later = 3 * OPEN_S + OPEN_S_MAX
    failed(health, later)
    assert health.is_available(later + OPEN_S)


def test_what_others_see_of_an_unhealthy_provider_does_not_count_yet() -> None:
    """Sessions that had no other choice dial it meanwhile; after the wait their dial is a probe."""
    health = failed(Health())
    health.succeeded(FAST, OPEN_S - 1)
    health.failed(OPEN_S - 1, "broke", Failure.CONNECTION)
    assert health.state is HealthState.UNHEALTHY
    health.succeeded(FAST, OPEN_S)
    assert health.reason == ""


def test_each_change_is_told_once_with_its_reason() -> None:
    """The operator reads that a provider failed and that it is back, not each failed probe."""
    told: list[HealthChange] = []
    health = ProviderHealth.of(["openai", "gemini"], told.append, judged=["openai", "gemini"])
    for _ in range(FAILURES_MAX):
        health.failed("openai", 0.0, "no answer")
    assert health.healthy() == {"openai": 0.0, "gemini": 1.0}
    assert health.admits("openai", OPEN_S)
    health.failed("openai", OPEN_S, "no answer")
    assert not health.is_available("openai", OPEN_S)
    assert health.admits("openai", 3 * OPEN_S)
    health.given_up("openai")
    health.succeeded("openai", FAST, 3 * OPEN_S)
    health.served("openai", Failure.CONNECTION)
    assert [(c.provider, c.is_healthy) for c in told] == [("openai", False), ("openai", True)]
    assert "no answer" in told[0].reason
    assert health.failures == {"openai": FAILURES_MAX + 1, "gemini": 0}


def test_a_provider_without_an_alternative_is_not_judged() -> None:
    """Its models are served by it alone: what fails is counted, and it stays available. A gateway
    that is busy must not take a provider for slow that nobody could take the place of.
    """
    told: list[HealthChange] = []
    health = ProviderHealth.of(["openai", "azure"], told.append, judged=["azure"])
    for now in range(3 * FAILURES_MAX):
        health.failed("openai", float(now), "refused")
        health.succeeded("openai", 10 * SLOW, float(now))
        health.served("openai", Failure.CONNECTION)
        health.given_up("openai")
        assert health.is_available("openai", float(now))
        assert health.admits("openai", float(now))
    assert told == []
    assert health.healthy() == {"azure": 1.0}
    assert health.failures == {"openai": 3 * FAILURES_MAX, "azure": 0}


def test_a_drained_provider_is_the_last_choice_that_serves() -> None:
    """It comes before one that fails: a drain is no reason to end calls."""
    names = ["openai", "azure", "xai", "gemini"]
    health = ProviderHealth.of(names, lambda _: None, judged=names)
    health.drained = frozenset({"azure", "gemini"})
    for name in ("xai", "gemini"):
        for _ in range(FAILURES_MAX):
            health.failed(name, 0.0, "no answer")
    assert [health.standing(name, 0.0) for name in names] == [
        Standing.SERVES, Standing.DRAINED, Standing.FAILS, Standing.DRAINED_AND_FAILS,
    ]  # fmt: skip
    assert sorted(Standing) == list(Standing)
    assert [health.is_healthy(name) for name in names] == [True, True, False, False]
    assert health.standing("xai", OPEN_S) is Standing.SERVES, "it may be tried again"


def test_a_provider_that_lets_users_wait_is_left_alone() -> None:
    """Three answers in a row that are slow to begin; its next dial is a probe as ever, and a row
    begins anew.
    """
    health = Health()
    for wait_s in (*[SLOW_ANSWER_S + 1] * (SLOW_MAX - 1), SLOW_ANSWER_S):
        health.answered(wait_s, 0.0)
    for _ in range(SLOW_MAX - 1):
        health.answered(SLOW_ANSWER_S + 1, 0.0)
        health.succeeded(FAST, 0.0)
    assert health.state is HealthState.HEALTHY
    health.answered(SLOW_ANSWER_S + 1, 0.0)
    assert not health.is_available(0.0)
    assert health.reason == "3 answers in a row began after over 10 s"
    health.answered(SLOW_ANSWER_S + 1, 1.0)
    assert health.admits(OPEN_S)
    health.succeeded(FAST, OPEN_S)
    health.answered(SLOW_ANSWER_S + 1, OPEN_S)
    assert health.state is HealthState.HEALTHY
