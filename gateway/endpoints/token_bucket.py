"""How often something may be done: a few times at once, then at a steady pace. Pure.

A token bucket, as in RFC 2475 section 2.3.3.3: it holds ``burst`` at most and gains one every
``seconds``.
"""


class TokenBucket:
    """For everybody together. ``now`` is any clock's time in seconds that does not go back."""

    def __init__(self, *, burst: int, seconds: float) -> None:
        self._seconds = seconds
        self._span = burst * seconds
        self._full_at = float("-inf")  # when the bucket is full again

    def take(self, now: float) -> float:
        """Take one, or say in how many seconds there is one: 0 means that it was taken."""
        full_at = max(self._full_at, now) + self._seconds
        wait_s = full_at - now - self._span
        if wait_s > 0:
            return wait_s
        self._full_at = full_at
        return 0.0
