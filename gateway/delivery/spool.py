"""The journal of one producer: what a gateway that is killed leaves to the next one. Pure.

A metered response is noted before its event is forwarded, and a message is noted as sealed before
it is sent: otherwise a recovery would group the same responses under another number. Sealed
messages are released for sending once they are on the disk itself, so that this holds for a power
failure too. Messages that are durable at accountd are kept for a while, to refill one that was
restored from a backup.

The spool owns no file and no clock: it writes through a ``Store`` and takes ``now``, the wall clock
in seconds.
"""

import contextlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from gateway.delivery.journal import (
    HEADER_BYTES,
    RECORD_BYTES_MAX,
    RECORD_BYTES_MIN,
    BaseRecord,
    Damage,
    MeteredRecord,
    Record,
    SealedRecord,
    encode_base,
    encode_header,
    encode_metered,
    encode_sealed,
    has_header,
    read_records,
    read_sealed,
)
from gateway.limits import (
    BATCH_RESPONSES,
    OUTBOX_BATCHES_MAX,
    SEGMENT_BYTES_MAX,
    SEGMENT_S_MAX,
)

_OFFSET_BITS: Final = 32  # a segment is smaller, and segment numbers have 32 bits left
# A jump in the numbering that no journal can have lost so many records for: damage, or forged.
_JUMP_MAX: Final = OUTBOX_BATCHES_MAX * BATCH_RESPONSES


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


@dataclass(slots=True)
class Recovered:
    """What was found in the spool of a producer that ended.

    ``unsealed`` are the payloads of responses that no sealed message covers. ``damaged_bytes``,
    ``missing_sequences`` and ``missing_numbers`` are zero unless the disk lost something in the
    middle: then what is unsealed may have been charged already.
    """

    last_sequence: int = 0
    last_payload: bytes = b""
    unsealed: dict[int, bytes] = field(default_factory=dict)
    damaged_bytes: int = 0
    missing_sequences: int = 0
    missing_numbers: int = 0

    @property
    def is_damaged(self) -> bool:
        """Whether the journal has holes."""
        return bool(self.damaged_bytes or self.missing_sequences or self.missing_numbers)

    @property
    def is_bare(self) -> bool:
        """Whether messages were sealed of which none is left.

        They were removed after the end (see ``prune``), or lost with their power, never sent.
        """
        is_empty = not (self.last_payload or self.unsealed or self.is_damaged)
        return is_empty and self.last_sequence > 0


class Spool:
    """The journal of ``producer``. After a failed write it goes on in a new segment."""

    def __init__(self, store: Store, producer: bytes, *, now: float) -> None:
        self.producer = producer
        self._store = store
        self._segments: list[Segment] = []
        self._next_segment = 1
        self._current: Segment | None = None
        self._is_over = False
        self._last_number = 0
        self._open_numbers: set[int] = set()
        self._covers: dict[int, Sequence[int]] = {}  # of messages that may not be on the disk yet
        # Where each sealed message lies, from the first that is still there: 8 bytes a message.
        self._first_sequence = 1
        self._places = array("Q")
        self.synced_through = 0
        self.unreadable = 0  # messages that were there once and are damaged or gone
        self.recovered = self._recover(now)

    @property
    def sealed_through(self) -> int:
        """The highest sequence that was noted as sealed."""
        return self._first_sequence + len(self._places) - 1

    @property
    def size(self) -> int:
        """Bytes in all segments."""
        return sum(segment.size for segment in self._segments)

    def note(self, payload: bytes, *, now: float) -> int:
        """Note one metered response; the answer is its number. Raises ``OSError``."""
        number = self._last_number + 1
        segment = self._append(encode_metered(number, payload), now)
        self._last_number = segment.last_number = number
        self._open_numbers.add(number)
        return number

    def seal(self, sequence: int, covers: Sequence[int], payload: bytes, *, now: float) -> None:
        """Note a message before it is sent. Raises ``OSError``: then it is not sealed."""
        assert sequence > self.sealed_through
        record = encode_sealed(sequence, covers, payload)
        segment = self._append(record, now)
        self._place(segment, sequence, segment.size - len(record))
        self._open_numbers.difference_update(covers)
        self._covers[sequence] = covers

    def synced(self, through: int) -> None:
        """Everything that was sealed up to ``through`` is on the disk itself."""
        self.synced_through = max(self.synced_through, through)
        for sequence in [s for s in self._covers if s <= through]:
            del self._covers[sequence]

    def payload(self, sequence: int) -> bytes | None:
        """A sealed message, also one that is durable; None when it is not there any more.

        Raises ``OSError`` when it is there and cannot be read now.
        """
        index = sequence - self._first_sequence
        if not 0 <= index < len(self._places) or not self._places[index]:
            return None
        number, start = divmod(self._places[index], 1 << _OFFSET_BITS)
        try:
            found = read_sealed(self._store.read_at(number, start, RECORD_BYTES_MAX))
        except FileNotFoundError:
            found = None
        if found is not None and found.sequence == sequence:
            return found.payload
        self.unreadable += 1
        return None

    def prune(self, through: int, *, now: float, keep_s: float, keep_bytes: int) -> int:
        """Remove the oldest segments whose messages are all durable (up to ``through``).

        They are kept for ``keep_s`` and up to ``keep_bytes`` in all. The oldest go first and
        without a gap: were a seal to vanish before what it covers, a recovery would charge that
        again. Until ``close`` the last segment with a seal that no power failure can take stays: a
        recovery that knew no sequence could not tell what is new from what was charged. Returns how
        many were removed.
        """
        self._close_aged(now)
        needed_from = min(
            [*self._open_numbers, *(n for covers in self._covers.values() for n in covers)],
            default=self._last_number + 1,
        )
        told_by = min(self.sealed_through, self.synced_through) or self.sealed_through
        removed, excess = 0, self.size - keep_bytes
        for segment in self._segments[:]:
            is_needed = (
                segment.last_sequence > through
                or segment.last_number >= needed_from
                or (segment.last_sequence >= told_by > 0 and not self._is_over)
            )
            is_kept = now - segment.closed_at < keep_s and excess <= 0
            if segment is self._current or is_needed or is_kept:
                break
            self._remove(segment)
            self._forget(segment)
            excess -= segment.size
            removed += 1
        return removed

    def probe(self, *, now: float) -> None:
        """Raises ``OSError`` when nothing can be written."""
        self._open(now)

    def close(self, now: float) -> None:
        """The producer is over: no more records follow, and every segment may be pruned."""
        self._is_over = True
        self._close_current(now)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left, so that its folder can go."""
        return not self._segments

    # --- helpers ----------------------------------------------------------------------------------

    def _append(self, record: bytes, now: float) -> Segment:
        segment = self._current
        if segment is None or segment.size + len(record) > SEGMENT_BYTES_MAX:
            segment = self._open(now)
        try:
            self._store.append(segment.number, record)
        except OSError:
            self._close_current(now)  # whatever stands there now is a torn tail
            raise
        segment.size += len(record)
        return segment

    def _open(self, now: float) -> Segment:
        self._close_current(now)
        start = encode_header(self.producer) + encode_base(self.sealed_through, self._last_number)
        segment = Segment(self._next_segment, opened_at=now, size=len(start))
        self._next_segment += 1
        self._segments.append(segment)
        self._current = segment
        try:
            self._store.append(segment.number, start)
        except OSError:
            self._close_current(now)
            # A full disk is probed every second: what came to be of the file must not pile up.
            with contextlib.suppress(OSError):
                self._remove(segment)
            raise
        return segment

    def _remove(self, segment: Segment) -> None:
        """Remove a segment; one that is not there any more, or never came to be, too."""
        with contextlib.suppress(FileNotFoundError):
            self._store.remove(segment.number)
        self._segments.remove(segment)

    def _close_current(self, now: float) -> None:
        if self._current is not None:
            self._current.closed_at = now
            self._current = None

    def _close_aged(self, now: float) -> None:
        if self._current is not None and now - self._current.opened_at > SEGMENT_S_MAX:
            self._close_current(now)

    def _place(self, segment: Segment, sequence: int, start: int) -> None:
        self._miss_through(sequence - 1)
        self._places.append(segment.number << _OFFSET_BITS | start)
        segment.last_sequence = sequence

    def _miss_through(self, sequence: int) -> None:
        """Messages that must have been sealed and are not there: the disk lost them."""
        while self.sealed_through < sequence:
            self._places.append(0)

    def _forget(self, segment: Segment) -> None:
        """A segment is gone: its messages cannot be found any more."""
        gone = segment.last_sequence - self._first_sequence + 1
        if gone > 0:
            del self._places[:gone]
            self._first_sequence += gone

    # --- recovery ---------------------------------------------------------------------------------

    def _recover(self, now: float) -> Recovered:
        """Read what is there. It raises ``OSError`` when that is impossible."""
        reading = _Reading()
        for number, written_at in self._store.segments():
            segment = Segment(number, written_at, closed_at=min(written_at, now))
            self._segments.append(segment)
            self._next_segment = number + 1
            self._read_segment(segment, reading)
        found = reading.found
        self._last_number = reading.last_number
        self._open_numbers = set(found.unsealed)
        found.last_sequence = self.sealed_through
        found.missing_sequences = sum(1 for place in self._places if not place)
        found.missing_numbers = reading.missing_numbers()
        return found

    def _read_segment(self, segment: Segment, reading: "_Reading") -> None:
        data = self._store.read(segment.number)
        segment.size = len(data)
        if len(data) >= HEADER_BYTES and not has_header(data, self.producer):
            reading.found.damaged_bytes += HEADER_BYTES  # each record has a check of its own
        is_readable = False
        for record in read_records(data):
            is_readable = True
            if isinstance(record, Damage):
                reading.found.damaged_bytes += record.size
            elif self._is_absurd(record, reading):
                reading.found.damaged_bytes += RECORD_BYTES_MIN
            elif isinstance(record, BaseRecord):
                self._continue_from(record, reading)
            elif isinstance(record, MeteredRecord):
                segment.last_number = record.number
                reading.note(record)
            elif record.sequence > self.sealed_through:
                if reading.base is None and not self._places:
                    self._first_sequence = record.sequence  # what was before it is not known
                self._place(segment, record.sequence, record.at)
                reading.seal(record)
        if not is_readable and len(data) > HEADER_BYTES + len(encode_base(0, 0)):
            # Its first record was whole once, because others were written behind it.
            reading.found.damaged_bytes += len(data) - HEADER_BYTES

    def _is_absurd(self, record: Record, reading: "_Reading") -> bool:
        """Whether a record's numbers cannot follow what was read before."""
        is_first = reading.base is None and not self._places and not reading.noted
        if is_first:
            return False
        sequence = 0 if isinstance(record, MeteredRecord) else record.sequence
        number = 0 if isinstance(record, SealedRecord) else record.number
        return (
            sequence > self.sealed_through + _JUMP_MAX or number > reading.last_number + _JUMP_MAX
        )

    def _continue_from(self, base: BaseRecord, reading: "_Reading") -> None:
        """The first segment says what was removed before it, the others what should be there."""
        if reading.base is None:
            reading.base = base
            if not self._places:
                self._first_sequence = base.sequence + 1
        self._miss_through(base.sequence)
        reading.last_number = max(reading.last_number, base.number)


@dataclass(slots=True)
class _Reading:
    """What a recovery gathers from segment to segment."""

    found: Recovered = field(default_factory=Recovered)
    base: BaseRecord | None = None
    last_number: int = 0
    noted: set[int] = field(default_factory=set)
    covered: set[int] = field(default_factory=set)

    def note(self, record: MeteredRecord) -> None:
        """A response stands in the journal."""
        self.noted.add(record.number)
        self.last_number = max(self.last_number, record.number)
        self.found.unsealed[record.number] = record.payload

    def seal(self, record: SealedRecord) -> None:
        """It is in a message."""
        self.found.last_payload = record.payload
        self.covered.update(record.covers)
        self.last_number = max(self.last_number, *record.covers, 0)
        for number in record.covers:
            self.found.unsealed.pop(number, None)

    def missing_numbers(self) -> int:
        """Responses are noted without a gap: one that is neither there nor covered was lost."""
        floor = self.base.number if self.base is not None else min(self.noted, default=1) - 1
        expected = range(floor + 1, self.last_number + 1)
        return sum(1 for n in expected if n not in self.noted and n not in self.covered)
