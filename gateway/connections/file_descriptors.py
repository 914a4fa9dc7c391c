"""File descriptors: no session without the two that it needs, and no client without an answer.

A session needs a descriptor for its client and one for its provider; without the second it would
fail right after it was admitted. So new sessions are refused while descriptors are left to send the
refusal, and no more clients are accepted than can be answered: the rest wait in the kernel's queue.
Example: with a limit of 1,104 open files, 500 sessions and 64 other clients.
"""

import resource
from typing import Final

# Listeners, probes, the spool, ZeroMQ, DNS look-ups, addresses that are raced: a quiet gateway has
# about thirty.
OWN: Final = 40
# Clients without a session: those being admitted or refused, and those that read a page. Slow ones
# keep a place for ``PASSING_S``, so this is how many of them a second do not keep others waiting.
OTHERS: Final = 64


def has_capacity_for_session(*, sessions: int, allowed: int = 0) -> bool:
    """Whether one more session may be opened beside so many; ``allowed`` is the operator's own
    bound, 0 for none.
    """
    return sessions < _sessions_max(allowed)


def has_capacity_for_client(*, clients: int, allowed: int = 0) -> bool:
    """Whether one more client may be accepted beside so many, with a session or without. Each one
    that may get a session has a descriptor left for its provider then.
    """
    return clients < _sessions_max(allowed) + OTHERS


def _sessions_max(allowed: int) -> float:
    """How many sessions are allowed and have two descriptors each."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = allowed or float("inf")
    return most if soft == resource.RLIM_INFINITY else min(most, max(0, (soft - OWN - OTHERS) // 2))
