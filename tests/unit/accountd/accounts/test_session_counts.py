"""Sessions that may not begin: which limit says so, and when to ask again."""

import pytest

from accountd.accounts.leases import LEASE_S, Leases, Owner
from accountd.accounts.limits import EffectiveLimits, LimitDefaults, LimitReader
from accountd.accounts.session_counts import SessionCounts
from accountd.accounts.session_rates import KNOWN_MAX, Pace, SessionRates
from accountd.request_params import RequestError
from shared.limits import Limits

OWNER = Owner("k", "a")
NONE = Limits()


def limits(key: Limits = NONE, account: Limits = NONE) -> EffectiveLimits:
    """What holds for a key and its account."""
    return LimitReader(LimitDefaults(key, account)).effective("{}", "{}")


def refused(counts: SessionCounts, held: EffectiveLimits, now: float) -> tuple[str, str, int]:
    """The code, the message, and the wait."""
    with pytest.raises(RequestError) as caught:
        counts.begin("g", "refused", OWNER, held, now=now)
    assert caught.value.retry_after_s is not None
    return caught.value.code, str(caught.value), caught.value.retry_after_s


def test_a_key_and_an_account_that_are_full() -> None:
    """Each names itself; the message says how many."""
    for held, message in (
        (limits(Limits(sessions=1)), "this key may have 1 session at a time, and has as many"),
        (limits(account=Limits(sessions=1)), "this account may have 1 session at a time"),
    ):
        counts = SessionCounts()
        assert counts.begin("g", "1", OWNER, held, now=0.0)
        code, said, wait_s = refused(counts, held, 0.0)
        assert (code, wait_s) == ("too_many_sessions", 5)
        assert said.startswith(message)


def test_the_pace_of_a_key_and_of_an_account() -> None:
    """A burst of a minute's, then a steady rate; the wait is that until the next one."""
    for held, who in (
        (limits(Limits(new_sessions_per_minute=6)), "key"),
        (limits(account=Limits(new_sessions_per_minute=6)), "account"),
    ):
        counts = SessionCounts()
        for number in range(6):
            assert not counts.begin("g", str(number), OWNER, held, now=100.0)
        assert refused(counts, held, 100.5) == (
            "too_many_new_sessions", f"this {who} may begin 6 sessions a minute", 10,
        )  # fmt: skip
        counts.begin("g", "later", OWNER, held, now=110.0)
        assert refused(counts, held, 110.0)[2] == 10


@pytest.mark.parametrize("key", [2, 60])
def test_the_wait_is_the_longer_one(key: int) -> None:
    """Of the key's and the account's: who comes again then is let in."""
    held = limits(Limits(new_sessions_per_minute=key), Limits(new_sessions_per_minute=2))
    counts, others = SessionCounts(), limits(account=Limits(new_sessions_per_minute=2))
    for number in range(2):
        counts.begin("g", str(number), OWNER, held, now=0.0)
    assert refused(counts, held, 10.0)[2] == 20
    counts.begin("g", "other", Owner("l", "a"), others, now=30.0)
    assert refused(counts, held, 30.0)[2] == 30
    counts.begin("g", "2", OWNER, held, now=60.0)


def test_who_comes_back_takes_its_own_place() -> None:
    """The connection that broke is still counted; nobody else is let in meanwhile, and what counts
    in the end is the newer one.
    """
    for held in (limits(Limits(sessions=1)), limits(account=Limits(sessions=1))):
        counts, ada = SessionCounts(), Owner("k", "a", "ada")
        for lease in "123":
            assert counts.begin("g", lease, ada, held, now=0.0)
        assert refused(counts, held, 0.0)[0] == "too_many_sessions"
        assert counts.leases.of_key("k", but="ada") == counts.leases.of_account("a", but="ada") == 0
        counts.leases.renew("g", ["1", "2", "unknown"], now=0.0)
        assert (counts.leases.of_key("k"), counts.leases.of_account("a")) == (1, 1)
        assert refused(counts, held, 0.0)[0] == "too_many_sessions"
        with pytest.raises(RequestError):
            counts.begin("g", "4", Owner("k", "a", "bob"), held, now=0.0)
        counts.leases.renew("g", ["3"], now=0.0)
        assert counts.begin("g", "5", OWNER, held, now=0.0)


def test_another_account_has_other_sessions_of_this_name() -> None:
    """And another key has a place of its own, although the account's session is the same."""
    held = limits(Limits(sessions=1), Limits(sessions=1))
    counts = SessionCounts()
    counts.begin("g", "1", Owner("k", "a", "ada"), held, now=0.0)
    counts.begin("g", "2", Owner("l", "b", "bob"), held, now=0.0)
    with pytest.raises(RequestError, match="this account"):
        counts.begin("g", "3", Owner("m", "b", "ada"), held, now=0.0)
    assert counts.begin("g", "4", Owner("m", "b", "bob"), held, now=0.0)


def test_who_is_refused_takes_nothing() -> None:
    """Neither a lease nor, of either bucket, a token: one that is full costs the other nothing."""
    both = limits(Limits(sessions=1, new_sessions_per_minute=2), Limits(new_sessions_per_minute=2))
    counts = SessionCounts()
    counts.begin("g", "1", OWNER, both, now=0.0)
    for _ in range(9):
        assert refused(counts, both, 0.0)[0] == "too_many_sessions"
    counts.leases.renew("g", ["1"], now=0.0)
    counts.begin("g", "2", OWNER, both, now=0.0)
    counts.leases.renew("g", ["2"], now=0.0)
    assert refused(counts, both, 0.0)[0] == "too_many_new_sessions"
    assert counts.leases.total == 0
    narrow = limits(Limits(new_sessions_per_minute=9), Limits(new_sessions_per_minute=1))
    other, counts = Owner("other", "a"), SessionCounts()
    counts.begin("g", "3", other, narrow, now=0.0)
    for _ in range(9):
        assert refused(counts, narrow, 0.0)[0] == "too_many_new_sessions"
    wide = limits(Limits(new_sessions_per_minute=9))
    for number in range(9):
        counts.begin("g", f"k{number}", OWNER, wide, now=0.0)


def test_one_that_asks_again_begins_once() -> None:
    """Its answer was lost: it has its lease, and the pace counts it no second time."""
    held = limits(Limits(sessions=1, new_sessions_per_minute=1))
    counts = SessionCounts()
    for _ in range(3):
        assert counts.begin("g", "1", OWNER, held, now=0.0)
    assert counts.leases.total == 1


def test_a_lease_ends_with_its_gateway() -> None:
    """That has not been heard for so long, to the moment; another one's stays."""
    leases = Leases()
    leases.hold("dead", "1", OWNER, now=0.0)
    leases.hold("live", "1", OWNER, now=0.0)
    assert not leases.renew("live", [], now=LEASE_S - 0.1)
    assert leases.of_key("k", now=LEASE_S - 0.01) == 2
    assert leases.of_key("k", now=LEASE_S) == 1
    assert leases.is_held("live", "1", now=LEASE_S)
    assert not leases.is_held("dead", "1", now=LEASE_S)


def test_who_begins_a_session_is_not_known_by_that() -> None:
    """It may hold others of which nothing is known, so it is asked for all."""
    leases = Leases()
    leases.hold("g", "new", OWNER, now=0.0)
    assert [leases.renew("g", [], now=0.0) for _ in range(2)] == [False, True]


def test_a_changed_limit_is_a_new_bucket() -> None:
    """And the buckets that are remembered are bounded."""
    rates = SessionRates()
    rates.begin([Pace("key", "k", 1)], 0.0)
    assert rates.wait_s(Pace("key", "k", 1), 0.0) == 60.0
    assert rates.wait_s(Pace("key", "k", 2), 0.0) == 0.0
    assert rates.wait_s(Pace("account", "k", 1), 0.0) == 0.0
    for number in range(KNOWN_MAX):
        rates.begin([Pace("key", str(number), 1)], 0.0)
    assert rates.wait_s(Pace("key", "k", 1), 0.0) == 0.0
    assert rates.wait_s(Pace("key", "0", 1), 0.0) == 60.0
