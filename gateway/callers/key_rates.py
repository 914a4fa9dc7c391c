"""How many sessions a second a key may begin, and how often one that has a name. Pure.

Clients that dial again after any close do so for ever: livekit's plugin about nine times a second
(findings/livekit-redials-after-1008.sh). Two of them with one session's name would put each other
out for ever. Asked by ``door.admission`` before accountd is, so that a loop costs little.
"""

import math

from gateway.http.refusals import Refusal, too_many_requests
from gateway.limits import (
    KEY_BURST_S,
    KEYS_KNOWN_MAX,
    SAME_SESSION_BURST,
    SAME_SESSION_S,
)
from shared.token_bucket import TokenBuckets


class KeyRates:
    """The pace of each key. ``now`` is monotonic seconds."""

    def __init__(self, *, per_s: float) -> None:
        """``per_s``: sessions a second of one key, 0 for any number."""
        self._per_s = per_s
        self._by_key = TokenBuckets(
            burst=max(1, round(per_s * KEY_BURST_S)),
            seconds=1 / per_s if per_s else 0.0,
            most=KEYS_KNOWN_MAX,
        )
        self._by_session = TokenBuckets(
            burst=SAME_SESSION_BURST, seconds=SAME_SESSION_S, most=KEYS_KNOWN_MAX
        )

    def refusal(self, key_hash: str, session: str, now: float) -> Refusal | None:
        """429 where the key begins too many sessions, or too often the one that is called
        ``session``, empty for a session that cannot be continued.
        """
        wait_s = self._by_key.take(key_hash, now) if self._per_s else 0.0
        if wait_s:
            return _too_many(
                f"more than {self._per_s:g} new sessions a second with this key", wait_s
            )
        if session and (wait_s := self._by_session.take(f"{key_hash} {session}", now)):
            return _too_many(
                "this session is begun again and again; is another client in it?", wait_s
            )
        return None


def _too_many(message: str, wait_s: float) -> Refusal:
    return too_many_requests(message, retry_after_s=math.ceil(wait_s))
