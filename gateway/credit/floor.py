"""Which sessions of an account may ask for a response, where its credit does not pay one for each.
Pure.

The credit left pays for so many responses at once: the *slots*. While an account has more members
(sessions and calls) than slots, a client's questions reach its provider only while its session has
the *floor*. A session asks for it when its client says something, and gets it in the order of
asking. It gives it back

* when its response has ended, or
* when others wait and no response of its own has begun for too long: a microphone that streams
  silence does not keep it (``idle_s`` of ``floors``).

Whoever has a response under way has the floor, also where a provider began it by itself.

Two slots, three sessions that all ask: A and B get the floor. A's response ends and is metered, so
one slot is left: B's. C gets the floor when B's response ends.

``now`` is monotonic seconds. Made by ``floors`` for an account when it has too many members, and
dropped when it has not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

M = TypeVar("M")


@dataclass(slots=True)
class _Hold:
    """How a member has the floor: ``since`` when, and how many responses are under way."""

    since: float
    responses: int = 0


class Floor(Generic[M]):
    """The floor of one account. After any other call, ``settle`` says what follows."""

    __slots__ = ("_changed", "_holds", "_waiting", "slots")

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._holds: dict[M, _Hold] = {}
        self._waiting: dict[M, None] = {}  # in the order of asking
        self._changed: dict[M, None] = {}

    def has(self, member: M) -> bool:
        """Whether it has the floor."""
        return member in self._holds

    @property
    def waiting(self) -> int:
        """How many wait for it."""
        return len(self._waiting)

    @property
    def free(self) -> int:
        """How many slots nobody has; negative where providers began responses by themselves."""
        return self.slots - sum(max(1, hold.responses) for hold in self._holds.values())

    def give(self, member: M, now: float) -> None:
        """It had asked before there was a floor, and has not been answered."""
        self._waiting.pop(member, None)
        self._hold(member, now)

    def ask(self, member: M) -> None:
        """Its client has something to say."""
        if member not in self._holds:
            self._waiting.setdefault(member)

    def report(self, member: M, responses: int, now: float) -> bool:
        """So many of its responses are under way; whether that is news."""
        hold = self._holds.get(member)
        if responses == (0 if hold is None else hold.responses):
            return False
        if responses:
            self._waiting.pop(member, None)
            self._hold(member, now).responses = responses
        else:
            self._drop(member)
        return True

    def answered(self, member: M) -> bool:
        """A response of it was metered; whether that is news: that it had begun was not reported,
        as it ended in the same read.
        """
        hold = self._holds.get(member)
        if hold is None or hold.responses:
            return False
        self._drop(member)
        return True

    def leave(self, member: M) -> None:
        """It has no client any more."""
        self._waiting.pop(member, None)
        self._holds.pop(member, None)
        self._changed.pop(member, None)

    def settle(self, now: float, *, idle_s: Callable[[M], float]) -> list[M]:
        """Give the floor to those that wait, as far as there are slots; those that got it or lost
        it since the last call. ``idle_s``: for how long a member keeps it without a response.
        """
        wanted = min(self.slots, len(self._waiting)) - max(0, self.free)
        if wanted > 0:
            self._withdraw(wanted, now, idle_s)
        for member in list(self._waiting)[: max(0, self.free)]:
            del self._waiting[member]
            self._hold(member, now)
        changed, self._changed = list(self._changed), {}
        return changed

    # --- helpers ----------------------------------------------------------------------------------

    def _withdraw(self, count: int, now: float, idle_s: Callable[[M], float]) -> None:
        """Take the floor from ``count`` of those that have not used it, the earliest first."""
        idle = [
            member
            for member, hold in self._holds.items()
            if not hold.responses and now - hold.since > idle_s(member)
        ]
        for member in idle[:count]:
            self._drop(member)

    def _hold(self, member: M, now: float) -> _Hold:
        hold = self._holds.get(member)
        if hold is None:
            hold = self._holds[member] = _Hold(now)
            self._changed[member] = None
        return hold

    def _drop(self, member: M) -> None:
        del self._holds[member]
        self._changed[member] = None
