"""Payload digests by sequence, which tell a resend from a conflict. Pure."""

import hashlib
from collections import deque
from collections.abc import Mapping
from typing import Final

# (producer, sequence) has the digest of what was applied; with a digest as its third part it stands
# for a conflicting payload that has been quarantined.
DigestKey = tuple[bytes, int] | tuple[bytes, int, int]
# Twice a gateway's outbox: what is sent again after an outage costs no query. About 45 MB.
RECENT_DIGESTS_MAX: Final = 200_000
_EMPTY: Final = hashlib.blake2b(digest_size=8)  # as long as SQLite's integers


class RecentDigests:
    """A bounded cache of digests by sequence; the oldest are evicted first.

    It lives as long as the process and spares ``decide`` the question to the database.
    """

    def __init__(self, entries_max: int = RECENT_DIGESTS_MAX) -> None:
        self._entries_max = entries_max
        self._digests: dict[DigestKey, int] = {}
        self._order: deque[DigestKey] = deque()

    def __len__(self) -> int:
        """How many digests are remembered."""
        return len(self._digests)

    def get(self, key: DigestKey) -> int | None:
        """The digest under ``key``, or None when it was never seen or is forgotten."""
        return self._digests.get(key)

    def remember(self, digests: Mapping[DigestKey, int]) -> None:
        """Take what a committed group has seen."""
        for key, digest in digests.items():
            if key not in self._digests:
                self._order.append(key)
            self._digests[key] = digest
        while len(self._order) > self._entries_max:
            del self._digests[self._order.popleft()]


def digest_of(payload: bytes) -> int:
    """A payload's digest, the same in every process: it is stored beside what was applied.

    64 bits, for 1 µs. Python's ``hash`` costs 0.1 µs, and after a restart it is another one.
    """
    state = _EMPTY.copy()  # half the time of a new one, whose parameters are read each time
    state.update(payload)
    return int.from_bytes(state.digest(), "big", signed=True)
