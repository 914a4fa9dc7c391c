"""How often something may be done: a burst, then a steady rate."""

from hypothesis import given
from hypothesis import strategies as st

from shared.token_bucket import TokenBucket, TokenBuckets


@given(st.lists(st.floats(0, 10), max_size=60))
def test_a_pace_is_kept(pauses: list[float]) -> None:
    """In no span of time are more taken than the burst and one for every second of it."""
    pace, now, taken = TokenBucket(burst=5, seconds=1.0), 100.0, list[float]()
    for pause in pauses:
        now += pause
        wait_s = pace.take(now)
        if not wait_s:
            taken.append(now)
        else:
            assert 0 < wait_s <= 1
            assert TokenBucket(burst=5, seconds=1.0).take(now) == 0
    for first, begin in enumerate(taken):
        for last, end in enumerate(taken[first:], start=first):
            assert last - first + 1 <= 5 + (end - begin) + 1e-6


def test_a_pace_says_when_it_has_one_again() -> None:
    """Nothing is taken meanwhile; then one is."""
    pace = TokenBucket(burst=2, seconds=4.0)
    assert [pace.take(0.0) for _ in range(3)] == [0, 0, 4.0]
    assert pace.take(3.0) == 1.0
    assert pace.take(4.0) == 0
    assert pace.take(4.0) == 4.0
    assert [pace.take(100.0) for _ in range(3)] == [0, 0, 4.0]


@given(st.floats(0, 1e6), st.floats(1e-3, 1e3), st.integers(1, 100))
def test_a_full_bucket_has_its_burst(now: float, seconds: float, burst: int) -> None:
    """All of it, whatever the clock says: sums of seconds are rounded."""
    pace = TokenBucket(burst=burst, seconds=seconds)
    assert [pace.take(now) for _ in range(burst)] == [0] * burst
    assert pace.take(now) > 0


def test_what_has_happened_is_counted_also_without_a_token() -> None:
    """A second burst may be owed, and no more, however often it happens."""
    pace = TokenBucket(burst=2, seconds=4.0)
    assert pace.wait_s(0.0) == 0
    waits = []
    for _ in range(6):
        pace.spend(0.0)
        waits.append(pace.wait_s(0.0))
    assert waits == [0, 4, 8, 12, 12, 12]
    assert pace.wait_s(11.0) == 1
    assert pace.wait_s(12.0) == 0
    assert pace.take(12.0) == 0


def test_each_name_has_a_bucket_of_its_own() -> None:
    """Of too many the one used longest ago is forgotten; to ask how long to wait is no use."""
    buckets = TokenBuckets(burst=1, seconds=10.0, most=2)
    assert buckets.wait_s("a", 0.0) == 0
    assert buckets.take("a", 0.0) == 0
    buckets.spend("b", 0.0)
    assert buckets.wait_s("a", 0.0) == 10
    assert buckets.wait_s("b", 0.0) == 10
    assert buckets.take("c", 0.0) == 0
    assert buckets.wait_s("a", 0.0) == 0
    assert buckets.wait_s("b", 0.0) == 10
