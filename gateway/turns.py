"""Who may ask accountd next, of those who ask over plain HTTP.

A few questions are under way at a time, because sessions come first. The others wait in the order
in which they came, but of one holder only a few may stand in that line: however much one asks, the
next one's turn comes soon.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from gateway.limits import ASKING_EACH_MAX, ASKING_MAX, TURNS, TURNS_EACH
from gateway.refusals import Refusal, too_many_requests, unavailable

T = TypeVar("T")


class _Line:
    """What one holder has under way and waiting."""

    def __init__(self) -> None:
        self.length = 0
        self.turns: Final = asyncio.Semaphore(TURNS_EACH)


class Turns:
    """Gives questions their turn. A holder is whoever shows one key."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(TURNS)
        self._length = 0
        self._lines: dict[str, _Line] = {}

    async def take(self, holder: str, question: Callable[[], Awaitable[T]]) -> T | Refusal:
        """The answer to ``question``, asked when its turn has come.

        429 for a holder with ``ASKING_EACH_MAX`` questions already, 503 where there are
        ``ASKING_MAX`` of all holders.
        """
        if self._length >= ASKING_MAX:
            return unavailable("too many requests at once; try again")
        line = self._lines.setdefault(holder, _Line())
        if line.length >= ASKING_EACH_MAX:
            return too_many_requests("too many requests at once with this key; try again")
        line.length += 1
        self._length += 1
        try:
            # In this order: the second line is everybody's.
            async with line.turns, self._turns:
                return await question()
        finally:
            self._length -= 1
            line.length -= 1
            if not line.length:
                del self._lines[holder]
