"""Which of a producer's numbered messages were applied. Pure.

Everything up to the *watermark* (``applied_through``) has been applied, and so have the few
sequences in ``ahead`` of it. Any other sequence is new, in whatever order it comes: a gap holds the
watermark back, not the money.
"""

from collections.abc import Iterable
from enum import Enum, auto


class Verdict(Enum):
    """Whether a sequence is new."""

    APPLY = auto()
    DUPLICATE = auto()


class ProducerWindow:
    """What has been applied of one producer, and how that changed since it was loaded.

    ``ended_at`` is the sequence of its end marker, None while there was none.
    """

    __slots__ = (
        "_loaded_ahead", "_loaded_ended_at", "_loaded_through", "ahead", "applied_through",
        "ended_at",
    )  # fmt: skip

    def __init__(
        self, applied_through: int = 0, ahead: Iterable[int] = (), ended_at: int | None = None
    ) -> None:
        self.applied_through = self._loaded_through = applied_through
        self.ahead = set(ahead)
        self._loaded_ahead = frozenset(self.ahead)
        self.ended_at = self._loaded_ended_at = ended_at
        assert all(sequence > applied_through + 1 for sequence in self.ahead)

    def judge(self, sequence: int) -> Verdict:
        """Whether ``sequence`` (from 1) is new; a new one counts as applied from here on."""
        assert sequence >= 1
        if sequence == self.applied_through + 1 and not self.ahead:
            self.applied_through = sequence
            return Verdict.APPLY
        if sequence <= self.applied_through or sequence in self.ahead:
            return Verdict.DUPLICATE
        self.ahead.add(sequence)
        while self.applied_through + 1 in self.ahead:
            self.applied_through += 1
            self.ahead.remove(self.applied_through)
        return Verdict.APPLY

    def end(self, sequence: int) -> None:
        """Note an end marker. Of several the lowest counts, in whatever order they come: what is
        beyond it makes the producer incomplete in the audit.
        """
        self.ended_at = sequence if self.ended_at is None else min(self.ended_at, sequence)

    @property
    def is_changed(self) -> bool:
        """Whether anything was applied since the window was loaded."""
        return (
            self.applied_through != self._loaded_through
            or self.ahead != self._loaded_ahead
            or self.ended_at != self._loaded_ended_at
        )

    @property
    def is_overrun(self) -> bool:
        """Whether anything beyond the end was applied: two processes use one producer id."""
        return self.ended_at is not None and (
            max(self.ahead, default=self.applied_through) > self.ended_at
        )

    @property
    def newly_ahead(self) -> set[int]:
        """Sequences to note as applied beyond the watermark."""
        return self.ahead - self._loaded_ahead

    @property
    def no_longer_ahead(self) -> frozenset[int]:
        """Sequences that the watermark has reached."""
        return self._loaded_ahead - self.ahead

    def missing(self, at_most: int) -> list[int]:
        """The lowest sequences that hold the watermark back or are short of the end."""
        return missing_sequences(self.applied_through, sorted(self.ahead), self.ended_at, at_most)


def missing_sequences(
    applied_through: int, ahead: Iterable[int], ended_at: int | None, at_most: int
) -> list[int]:
    """The lowest ``at_most`` sequences that did not come; ``ahead`` ascends and may be long."""
    found: list[int] = []
    expected = applied_through + 1
    for sequence in ahead:
        found.extend(range(expected, min(sequence, expected + at_most - len(found))))
        if len(found) == at_most:
            return found
        expected = sequence + 1
    if ended_at is not None:
        found.extend(range(expected, min(ended_at + 1, expected + at_most - len(found))))
    return found
