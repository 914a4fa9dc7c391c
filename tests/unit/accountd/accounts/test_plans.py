"""Plans: how they are written, and what each one gives."""

import pytest

from accountd.accounts.plans import DEFAULT_PLANS, parse_plans, tokens_of
from accountd.request_params import AMOUNT_MAX, RequestError


def test_the_default_plans() -> None:
    """Free, Pro and Enterprise."""
    assert parse_plans(DEFAULT_PLANS) == {"Free": 1_000, "Pro": 50_000, "Enterprise": 500_000}
    assert parse_plans(" Basic = 0 , Big Plan=7 ") == {"Basic": 0, "Big Plan": 7}


BAD_PLANS = [
    ("Free", ["'Free': the tokens must be an integer"]),
    ("Free=x,Pro=-1", ["'Free=x'", "'Pro=-1'"]),
    ("=5", ["'=5': the name needs 1 to 256"]),
    ("Free=1,Free=2", ["Free is there twice"]),
    (f"Free={AMOUNT_MAX + 1}", [f"from 0 to {AMOUNT_MAX}"]),
    ("Free=1,", ["'': the name needs"]),
    ("Free=1,Pro=5=6", ["'Pro=5=6'"]),
    ("Free=\N{ARABIC-INDIC DIGIT ONE}", ["the tokens must be"]),
]


@pytest.mark.parametrize(("text", "mistakes"), BAD_PLANS)
def test_all_mistakes_in_plans_are_reported(text: str, mistakes: list[str]) -> None:
    """Each names the entry that it is in."""
    with pytest.raises(ValueError, match="expected NAME=TOKENS") as caught:
        parse_plans(text)
    assert all(mistake in str(caught.value) for mistake in mistakes)


def test_a_plan_gives_its_tokens() -> None:
    """By its exact name."""
    plans = parse_plans("Free=1000,Pro=50000")
    assert tokens_of("Pro", plans, otherwise="--no-plan") == 50_000


@pytest.mark.parametrize("plan", ["pro", "", "Enterprise"])
def test_a_plan_that_there_is_not_is_refused(plan: str) -> None:
    """The answer names those that there are, and what else can be done."""
    plans = parse_plans("Free=1000,Pro=50000")
    with pytest.raises(RequestError) as caught:
        tokens_of(plan, plans, otherwise="give the tokens")
    expected = f"plan_name: found {plan!r}, expected Free, Pro, or give the tokens"
    assert (caught.value.code, str(caught.value)) == ("bad_request", expected)
