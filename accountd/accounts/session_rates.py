"""How many sessions a minute may begin: a token bucket for each key and account with a limit. Pure.

Sixty a minute are sixty at once, and then one every second. A bucket is full again when its limit
changes, and where there are more than ``KNOWN_MAX`` that of the one that began a session longest
ago.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, NamedTuple

from shared.token_bucket import TokenBucket

KNOWN_MAX: Final = 100_000
MINUTE_S: Final = 60.0


class Pace(NamedTuple):
    """How many sessions may begin ``per_minute``. ``who`` says whether ``name`` is a key's."""

    who: str
    name: str
    per_minute: int


class SessionRates:
    """The pace of each. ``now`` is monotonic seconds."""

    def __init__(self) -> None:
        self._buckets = OrderedDict[tuple[str, str], tuple[int, TokenBucket]]()

    def wait_s(self, pace: Pace, now: float) -> float:
        """The seconds until a session may begin; 0: at once."""
        limit, bucket = self._buckets.get((pace.who, pace.name), (0, None))
        return bucket.wait_s(now) if bucket is not None and limit == pace.per_minute else 0.0

    def begin(self, paces: Iterable[Pace], now: float) -> None:
        """A session begins, which all of these may begin now."""
        for who, name, per_minute in paces:
            limit, bucket = self._buckets.pop((who, name), (0, None))
            if bucket is None or limit != per_minute:
                bucket = TokenBucket(burst=per_minute, seconds=MINUTE_S / per_minute)
            bucket.take(now)
            self._buckets[who, name] = per_minute, bucket
            if len(self._buckets) > KNOWN_MAX:
                self._buckets.popitem(last=False)
