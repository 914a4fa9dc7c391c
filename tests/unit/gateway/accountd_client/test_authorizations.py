"""Grants: how they are read, and for how long one counts while accountd is away."""

import pytest

from gateway.accountd_client.authorizations import (
    Authorization,
    AuthorizationCache,
    read_authorization,
)
from gateway.limits import CACHED_AUTHORIZATIONS_MAX
from shared.errors import UnreachableError
from shared.limits import SessionLimits

ANSWER = {"account_id": "a", "key_indicator": "rsliv…x", "token_remaining": 5, "topup_remaining": 7}
AUTHORIZATION = Authorization("a", "rsliv…x", 5, 7)


def test_a_grant_is_read_from_accountds_answer() -> None:
    """What a newer accountd says beside it is ignored."""
    assert read_authorization({**ANSWER, "newer": 1}) == AUTHORIZATION


def test_what_ends_a_grant_is_read_with_it() -> None:
    """Its key's hash, what may be taken back of it later, and when its key expires."""
    answer = {**ANSWER, "mark": 9, "expires_in_ms": 1500, "keeps_sessions": True}
    assert read_authorization(answer, "hash", now=100.0) == Authorization(
        "a", "rsliv…x", 5, 7, "hash", 9, 101.5, keeps_sessions=True
    )


def test_the_limits_of_a_session_are_read_with_it() -> None:
    """An accountd of before has none."""
    limits = {"session_s": 60, "providers": ["xai"]}
    found = read_authorization({**ANSWER, "limits": limits, "is_leased": True})
    assert found.limits == SessionLimits(session_s=60, providers=("xai",))
    assert found.is_leased
    assert read_authorization(ANSWER).limits == SessionLimits()


@pytest.mark.parametrize(("said", "counted"), [({}, ""), ({"spending_left": 0}, "hash")])
def test_what_a_key_with_a_cap_spends_is_counted(said: dict[str, int], counted: str) -> None:
    """Under its hash; of other keys nothing is."""
    found = read_authorization({**ANSWER, **said}, "hash")
    assert (found.spending_left, found.counted_key) == (said.get("spending_left"), counted)


@pytest.mark.parametrize(
    "answer",
    [None, [], {}, {**ANSWER, "token_remaining": "5"}, {**ANSWER, "limits": {"session_s": "5"}}],
)
def test_nonsense_lets_nobody_in(answer: object) -> None:
    """It counts like no answer."""
    with pytest.raises(UnreachableError):
        read_authorization(answer)


@pytest.mark.parametrize(
    ("age_s", "seconds", "found"), [(9.9, 10, AUTHORIZATION), (10, 10, None), (0, 0, None)]
)
def test_a_grant_counts_for_so_long(
    age_s: float, seconds: float, found: Authorization | None
) -> None:
    """With 0 seconds nobody is let in without accountd."""
    cache = AuthorizationCache(seconds)
    cache.put("k", AUTHORIZATION, now=100.0)
    assert cache.get("k", now=100.0 + age_s) == found
    assert cache.get("other", now=100.0) is None


def test_a_denial_ends_a_grant() -> None:
    """A key that was revoked is not let in on an old answer."""
    cache = AuthorizationCache(60)
    cache.put("k", AUTHORIZATION, now=0.0)
    cache.remove("k")
    cache.remove("never seen")
    assert cache.get("k", now=1.0) is None


def test_the_oldest_of_too_many_grants_goes() -> None:
    """One that was renewed is young again."""
    cache = AuthorizationCache(60)
    for number in range(CACHED_AUTHORIZATIONS_MAX):
        cache.put(f"k{number}", AUTHORIZATION, now=0.0)
    cache.put("k0", AUTHORIZATION, now=1.0)
    cache.put("one more", AUTHORIZATION, now=1.0)
    assert cache.get("k0", now=2.0) == AUTHORIZATION
    assert cache.get("k1", now=2.0) is None
