"""File descriptors: as many as the system allows, and no session without the two that it needs.

A client that is let in without a descriptor left for its provider's connection is dead from the
start, and one that cannot be accepted at all hears nothing. So new sessions are refused while there
are still enough to say so.
"""

import resource
from typing import Final

# Listeners, the spool, ZeroMQ, DNS look-ups, and clients that are being refused.
RESERVE: Final = 64


def raise_limit() -> None:
    """Raise the soft limit to the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def is_room_for_session(*, sessions: int) -> bool:
    """Whether one more session may be opened beside so many, each with two connections."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft == resource.RLIM_INFINITY or 2 * (sessions + 1) <= soft - RESERVE
