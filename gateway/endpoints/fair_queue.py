"""A queue for requests to accountd on behalf of plain HTTP, fair between keys.

At most ``at_once`` requests are in progress, so that authorizations of sessions do not wait behind
them. The others wait in the order in which they came. Of one key at most ``each`` are in that
common queue; the rest of them wait in a queue of the key's own. So with 100 requests of key A
waiting, a request of key B has at most ``each`` of A's in front of it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from gateway.http.refusals import Refusal, too_many_requests, unavailable
from gateway.limits import ASKING_EACH_MAX, ASKING_MAX

T = TypeVar("T")


class _HolderQueue:
    """The requests of one holder; those beyond ``each`` wait for one of its slots."""

    def __init__(self, each: int) -> None:
        self.length = 0  # in progress and waiting
        self.slots: Final = asyncio.Semaphore(each)


class FairQueue:
    """Runs requests of one kind. A holder is everybody who shows the same key."""

    def __init__(self, *, at_once: int, each: int) -> None:
        """``at_once`` requests are in progress in all, at most ``each`` of one holder."""
        self._each = each
        self._slots = asyncio.Semaphore(at_once)
        self._queue_by_holder: dict[str, _HolderQueue] = {}
        self.length = 0  # requests in progress and waiting

    async def run(self, holder: str, request: Callable[[], Awaitable[T]]) -> T | Refusal:
        """Call ``request`` when a slot is free, and return what it returns.

        Refuses with 429 when the holder has ``ASKING_EACH_MAX`` requests here already, and with 503
        when all holders together have ``ASKING_MAX``.
        """
        if self.length >= ASKING_MAX:
            return unavailable("too many requests at once; try again")
        queue = self._queue_by_holder.setdefault(holder, _HolderQueue(self._each))
        if queue.length >= ASKING_EACH_MAX:
            return too_many_requests("too many requests at once with this key; try again")
        queue.length += 1
        self.length += 1
        try:
            # The holder's own slot first: who waits for that one occupies none of the common slots.
            async with queue.slots, self._slots:
                return await request()
        finally:
            self.length -= 1
            queue.length -= 1
            if not queue.length:
                del self._queue_by_holder[holder]
