"""Which messages of a producer are new: the bookkeeping behind exactly once. Pure.

A producer numbers its messages 1, 2, 3… Everything up to the *watermark* (``applied_through``) has
been applied, and so have the few sequences in ``ahead`` of it. Any other sequence is new, in
whatever order it comes: a gap holds the watermark back, not the money.
"""

from collections.abc import Iterable
from enum import Enum, auto


class Verdict(Enum):
    """What to do with a message."""

    APPLY = auto()
    DUPLICATE = auto()


class ProducerWindow:
    """What has been applied of one producer, and how that changed since it was loaded."""

    __slots__ = ("_loaded_ahead", "_loaded_through", "ahead", "applied_through")

    def __init__(self, applied_through: int = 0, ahead: Iterable[int] = ()) -> None:
        self.applied_through = self._loaded_through = applied_through
        self.ahead = set(ahead)
        self._loaded_ahead = frozenset(self.ahead)
        assert all(sequence > applied_through + 1 for sequence in self.ahead)

    def judge(self, sequence: int) -> Verdict:
        """Whether ``sequence`` (from 1) is new; a new one counts as applied from here on."""
        assert sequence >= 1
        if sequence <= self.applied_through or sequence in self.ahead:
            return Verdict.DUPLICATE
        self.ahead.add(sequence)
        while self.applied_through + 1 in self.ahead:
            self.applied_through += 1
            self.ahead.remove(self.applied_through)
        return Verdict.APPLY

    @property
    def is_changed(self) -> bool:
        """Whether anything was applied since the window was loaded."""
        return self.applied_through != self._loaded_through or self.ahead != self._loaded_ahead

    @property
    def newly_ahead(self) -> set[int]:
        """Sequences to note as applied beyond the watermark."""
        return self.ahead - self._loaded_ahead

    @property
    def no_longer_ahead(self) -> frozenset[int]:
        """Sequences that the watermark has reached."""
        return self._loaded_ahead - self.ahead

    def missing(self, at_most: int) -> list[int]:
        """The lowest sequences that hold the watermark back, at most so many."""
        found: list[int] = []
        expected = self.applied_through + 1
        for sequence in sorted(self.ahead):
            while expected < sequence and len(found) < at_most:
                found.append(expected)
                expected += 1
            expected = sequence + 1
        return found
