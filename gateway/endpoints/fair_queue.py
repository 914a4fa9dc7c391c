"""Who may ask accountd next, of those who ask over plain HTTP.

A few questions are under way at a time, because sessions come first. The others wait in the order
in which they came, but with one key only a few may stand in that line: however much is asked with
one, who asks with another comes in between.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from gateway.http.refusals import Refusal, too_many_requests, unavailable
from gateway.limits import ASKING_EACH_MAX, ASKING_MAX

T = TypeVar("T")


class _Line:
    """What one holder has under way and waiting."""

    def __init__(self, at_once: int) -> None:
        self.length = 0
        self.turns: Final = asyncio.Semaphore(at_once)


class FairQueue:
    """Gives questions of a kind their turn. A holder is whoever shows one key."""

    def __init__(self, *, at_once: int, each: int) -> None:
        """``at_once`` questions are under way in all, ``each`` of one holder."""
        self._each = each
        self._turns = asyncio.Semaphore(at_once)
        self._lines: dict[str, _Line] = {}
        self.length = 0  # questions under way and waiting

    async def take(self, holder: str, question: Callable[[], Awaitable[T]]) -> T | Refusal:
        """The answer to ``question``, asked when its turn has come.

        429 for a holder with ``ASKING_EACH_MAX`` questions already, 503 where there are
        ``ASKING_MAX`` of all holders.
        """
        if self.length >= ASKING_MAX:
            return unavailable("too many requests at once; try again")
        line = self._lines.setdefault(holder, _Line(self._each))
        if line.length >= ASKING_EACH_MAX:
            return too_many_requests("too many requests at once with this key; try again")
        line.length += 1
        self.length += 1
        try:
            # In this order: the second line is everybody's.
            async with line.turns, self._turns:
                return await question()
        finally:
            self.length -= 1
            line.length -= 1
            if not line.length:
                del self._lines[holder]
