"""How many sessions a key begins in a second, and how often one with a name is begun."""

from gateway.callers.key_rates import KeyRates
from gateway.limits import KEYS_KNOWN_MAX, SAME_SESSION_BURST


def test_a_key_begins_sessions_at_its_rate() -> None:
    """Ten seconds' worth at once; then it is told when there is the next. Other keys go on."""
    rates = KeyRates(per_s=2)
    assert [rates.refusal("a", "", 0.0) for _ in range(20)] == [None] * 20
    refusal = rates.refusal("a", "", 0.0)
    assert refusal is not None
    assert (refusal.status, refusal.code, refusal.retry_after_s) == (429, "rate_limit_exceeded", 1)
    assert rates.refusal("b", "", 0.0) is None
    assert rates.refusal("a", "", 0.5) is None
    assert rates.refusal("a", "", 0.5) is not None


def test_a_session_is_not_begun_for_ever() -> None:
    """Two clients that put each other out: one a second after the first ten. Other sessions of the
    key, and sessions without a name, go on.
    """
    rates = KeyRates(per_s=0)
    begun = [rates.refusal("a", "call", n / 9) for n in range(9 * 60)]
    assert sum(refusal is None for refusal in begun) <= SAME_SESSION_BURST + 60
    assert begun[SAME_SESSION_BURST + 2] is not None
    assert rates.refusal("a", "other", 60.0) is None
    assert rates.refusal("b", "call", 60.0) is None
    assert [rates.refusal("a", "", 60.0) for _ in range(1_000)] == [None] * 1_000


def test_few_keys_are_remembered() -> None:
    """The one that was used longest ago is forgotten."""
    rates = KeyRates(per_s=0.1)
    assert rates.refusal("first", "", 0.0) is None
    assert rates.refusal("first", "", 0.0) is not None
    for number in range(KEYS_KNOWN_MAX):
        rates.refusal(str(number), "", 0.0)
    assert rates.refusal("first", "", 0.0) is None
