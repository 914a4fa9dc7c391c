"""Which gateways have obeyed a recall, and how many sessions ended by it. Pure.

A gateway that asks for what was taken back after a number has obeyed everything up to it; with its
question it says how many sessions the newest recalls ended there. This lives in memory: whoever
asks after a restart of accountd hears of the gateways that have asked since.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# A gateway asks every second, and says when it stops. One that is heard of no more has crashed, or
# is cut off and still has its sessions: whoever ends some is told so for a while.
KEPT_S: Final = 30.0
GATEWAYS_MAX: Final = 1_000
# Recalls of which it is known what they ended: whoever wants to know asks at once.
RECALLS_KEPT_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of the gateways that ask, how many have ``confirmed`` a recall, and what it ended there."""

    gateways: int
    confirmed: int
    ended: int


class Confirmations:
    """What gateways say when they ask. ``now`` is monotonic seconds."""

    def __init__(self) -> None:
        # In the order in which they asked last: when, and after which number.
        self._asked: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._ended: OrderedDict[int, dict[str, int]] = OrderedDict()

    def asked(
        self, gateway: str, since: int | None, ended: Mapping[int, int], *, now: float
    ) -> None:
        """A gateway asks for what came after ``since``. ``ended``: sessions by recall, as many as
        it says of one however often it says so.
        """
        self._asked[gateway] = now, since or 0
        self._asked.move_to_end(gateway)
        if len(self._asked) > GATEWAYS_MAX:
            self._asked.popitem(last=False)
        for number, count in ended.items():
            self._ended.setdefault(number, {})[gateway] = count
            if len(self._ended) > RECALLS_KEPT_MAX:
                self._ended.popitem(last=False)

    def left(self, gateway: str) -> None:
        """A gateway stops, and has no session any more."""
        self._asked.pop(gateway, None)

    def outcome(self, number: int, *, now: float) -> Outcome:
        """What became of a recall until now."""
        there = [since for at, since in self._asked.values() if now - at <= KEPT_S]
        return Outcome(
            gateways=len(there),
            confirmed=sum(since >= number for since in there),
            ended=sum(self._ended.get(number, {}).values()),
        )
