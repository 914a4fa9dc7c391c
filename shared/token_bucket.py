"""A token bucket (RFC 2475 section 2.3.3.3): a burst, then a steady rate. Pure.

It holds at most ``burst`` tokens, is full at first, and gains one token every ``seconds``. With a
burst of 10 and 6 seconds, ten keys can be had at once, and then one every 6 seconds. Used by
gateways for the demo's keys and for who knocks, by accountd for the sessions that a key begins.
"""

from collections import OrderedDict
from typing import Final

# What sums of seconds may be wrong by: of a bucket of one token, its first would not be there.
_ROUNDING_S: Final = 1e-6


class TokenBucket:
    """One bucket. ``now`` is monotonic seconds."""

    def __init__(self, *, burst: int, seconds: float) -> None:
        self._seconds = seconds
        self._span = burst * seconds
        self._full_at = float("-inf")  # when the bucket will be full, if nothing is taken

    def take(self, now: float) -> float:
        """Take one token and return 0; when there is none, return the seconds until there is."""
        full_at = max(self._full_at, now) + self._seconds
        wait_s = full_at - now - self._span
        if wait_s > _ROUNDING_S:
            return wait_s
        self._full_at = full_at
        return 0.0

    def wait_s(self, now: float) -> float:
        """The seconds until there is a token; 0 when there is one."""
        wait_s = self._full_at + self._seconds - now - self._span
        return wait_s if wait_s > _ROUNDING_S else 0.0

    def spend(self, now: float) -> None:
        """Take a token for what has happened already, also when there is none: at most a second
        burst is owed.
        """
        full_at = max(self._full_at, now) + self._seconds
        self._full_at = min(full_at, now + 2 * self._span)


class TokenBuckets:
    """One for each name; the one used longest ago is forgotten where there are more than ``most``.
    A bucket that is forgotten is full again.
    """

    def __init__(self, *, burst: int, seconds: float, most: int) -> None:
        self._burst = burst
        self._seconds = seconds
        self._most = most
        self._by_name = OrderedDict[str, TokenBucket]()

    def take(self, name: str, now: float) -> float:
        """See ``TokenBucket``."""
        return self._used(name).take(now)

    def spend(self, name: str, now: float) -> None:
        """See ``TokenBucket``."""
        self._used(name).spend(now)

    def wait_s(self, name: str, now: float) -> float:
        """See ``TokenBucket``; it makes no bucket, and is no use of one."""
        bucket = self._by_name.get(name)
        return 0.0 if bucket is None else bucket.wait_s(now)

    def _used(self, name: str) -> TokenBucket:
        bucket = self._by_name.pop(name, None)
        if bucket is None:
            bucket = TokenBucket(burst=self._burst, seconds=self._seconds)
        self._by_name[name] = bucket
        if len(self._by_name) > self._most:
            self._by_name.popitem(last=False)
        return bucket
