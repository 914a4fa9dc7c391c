"""What a journal is made of besides its format: a store, its segments, and an index of them. Pure.

``journal`` appends to segments and prunes them, ``journal_recovery`` reads them after a kill. Both
keep the same two tables: the segments, and the index of sealed messages.
"""

from array import array
from dataclasses import dataclass
from typing import Final, Protocol

_OFFSET_BITS: Final = 32  # a segment is smaller, and segment numbers have 32 bits left


class Store(Protocol):
    """The segments of one producer: files that only grow. Every method may raise ``OSError``."""

    def segments(self) -> list[tuple[int, float]]:
        """(number, wall clock of its last write) of every segment, lowest number first."""

    def append(self, segment: int, data: bytes) -> None:
        """Write ``data`` behind what is there, whole or, as far as can be helped, not at all."""

    def read(self, segment: int) -> bytes:
        """Everything in a segment."""

    def read_at(self, segment: int, start: int, size: int) -> bytes:
        """A part of a segment; shorter where it ends."""

    def remove(self, segment: int) -> None:
        """Remove a whole segment."""


@dataclass(slots=True)
class Segment:
    """What is known of one segment without reading it."""

    number: int
    opened_at: float
    closed_at: float = 0.0
    size: int = 0
    last_number: int = 0  # the highest metered response noted in it
    last_sequence: int = 0  # the highest message sealed in it


class SealedIndex:
    """Where each sealed message lies, from the first one that is still there.

    It costs 8 bytes a message. A sequence that should be there and is not has an empty place.
    """

    __slots__ = ("_first", "_places")

    def __init__(self) -> None:
        self._first = 1
        self._places = array("Q")  # segment number and offset; 0 where the message is missing

    def __bool__(self) -> bool:
        """Whether it holds any place, empty ones too."""
        return bool(self._places)

    @property
    def last(self) -> int:
        """The highest sequence that was sealed."""
        return self._first + len(self._places) - 1

    @property
    def missing(self) -> int:
        """How many places are empty."""
        return sum(1 for place in self._places if not place)

    def begin_at(self, sequence: int) -> None:
        """Nothing before ``sequence`` is expected: it was removed, or is not known."""
        assert not self._places
        self._first = sequence

    def add(self, sequence: int, segment: int, start: int) -> None:
        """A message lies in ``segment`` from byte ``start`` on; those skipped are missing."""
        self.fill_through(sequence - 1)
        self._places.append(segment << _OFFSET_BITS | start)

    def fill_through(self, sequence: int) -> None:
        """Messages up to ``sequence`` were sealed: those without a place are missing."""
        while self.last < sequence:
            self._places.append(0)

    def find(self, sequence: int) -> tuple[int, int] | None:
        """(segment, start) of a message; None when it was removed or is missing."""
        index = sequence - self._first
        if not 0 <= index < len(self._places) or not self._places[index]:
            return None
        return divmod(self._places[index], 1 << _OFFSET_BITS)

    def remove_through(self, sequence: int) -> None:
        """The segments that held messages up to ``sequence`` are gone."""
        gone = sequence - self._first + 1
        if gone > 0:
            del self._places[:gone]
            self._first += gone
