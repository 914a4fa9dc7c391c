"""File descriptors: no session without the two that it needs, and no client without an answer.

A client that is let in without a descriptor left for its provider's connection is dead from the
start. So new sessions are refused while there are still enough to say so, and no more clients are
accepted than can be told: those behind them wait in the kernel's queue.
"""

import resource
from typing import Final

# Listeners, probes, the spool, ZeroMQ, DNS look-ups, addresses that are raced: a quiet gateway has
# about thirty.
OWN: Final = 40
# Clients beside those with a session: who knocks, who is told why not, who reads a page.
OTHERS: Final = 24


def is_room_for_session(*, sessions: int) -> bool:
    """Whether one more session may be opened beside so many."""
    return sessions < _sessions_max()


def is_room_for_client(*, clients: int) -> bool:
    """Whether one more client may be accepted beside so many, with a session or without: every one
    that may get a session has a descriptor left for its provider then.
    """
    return clients < _sessions_max() + OTHERS


def _sessions_max() -> float:
    """So many sessions have two connections each."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return float("inf") if soft == resource.RLIM_INFINITY else max(0, (soft - OWN - OTHERS) // 2)
