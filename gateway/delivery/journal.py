"""The journal of one producer: what a gateway that is killed leaves to the next one. Pure.

A metered response is noted before its event is forwarded, and a message is noted as sealed before
it is sent: otherwise a recovery would group the same responses under another sequence. Sealed
messages are released for sending once they are synced (fsync), so that this holds for a power
failure too. Messages that are durable at accountd are kept for a while, to refill one that was
restored from a backup.

The journal owns no file and no clock: it writes through a ``Store`` and takes ``now``, the wall
clock in seconds. Called by ``producer`` and ``spool_manager``.
"""

import contextlib
from collections.abc import Sequence

from gateway.delivery.journal_format import (
    RECORD_BYTES_MAX,
    encode_base,
    encode_header,
    encode_metered,
    encode_sealed,
    read_sealed,
)
from gateway.delivery.journal_recovery import Recovery
from gateway.delivery.segments import Segment, Store
from gateway.limits import SEGMENT_BYTES_MAX, SEGMENT_S_MAX


class Journal:
    """The journal of ``producer``. After a failed write it continues in a new segment."""

    def __init__(self, store: Store, producer: bytes, *, now: float) -> None:
        """Read what is there. Raises ``OSError`` when that is impossible."""
        recovery = Recovery(producer)
        recovery.read(store, now=now)
        self.producer = producer
        self.recovered = recovery.found
        self.synced_through = 0
        self.unreadable = 0  # messages that were there once and are damaged or gone
        self._store = store
        self._segments = recovery.segments
        self._index = recovery.index
        self._next_segment = self._segments[-1].number + 1 if self._segments else 1
        self._current: Segment | None = None
        self._is_over = False
        self._last_number = recovery.last_number
        self._open_numbers = set(self.recovered.unsealed)
        self._covers: dict[int, Sequence[int]] = {}  # by sequence, of messages not synced yet

    @property
    def sealed_through(self) -> int:
        """The highest sequence that was noted as sealed."""
        return self._index.last

    @property
    def size(self) -> int:
        """Bytes in all segments."""
        return sum(segment.size for segment in self._segments)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left, so that its folder can go."""
        return not self._segments

    # --- writing ----------------------------------------------------------------------------------

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
        self._index.add(sequence, segment.number, segment.size - len(record))
        segment.last_sequence = sequence
        self._open_numbers.difference_update(covers)
        self._covers[sequence] = covers

    def synced(self, through: int) -> None:
        """An fsync has returned that began when ``through`` was the highest sealed sequence."""
        self.synced_through = max(self.synced_through, through)
        for sequence in [s for s in self._covers if s <= through]:
            del self._covers[sequence]

    def probe(self, *, now: float) -> None:
        """Open a new segment. Raises ``OSError`` when nothing can be written."""
        self._open(now)

    def close(self, now: float) -> None:
        """The producer is over: no more records follow, and every segment may be pruned."""
        self._is_over = True
        self._close_current(now)

    # --- reading ----------------------------------------------------------------------------------

    def payload(self, sequence: int) -> bytes | None:
        """A sealed message, durable or not; None when it is not there any more.

        Raises ``OSError`` when it is there and cannot be read now.
        """
        place = self._index.find(sequence)
        if place is None:
            return None
        try:
            found = read_sealed(self._store.read_at(*place, RECORD_BYTES_MAX))
        except FileNotFoundError:
            found = None
        if found is not None and found.sequence == sequence:
            return found.payload
        self.unreadable += 1
        return None

    # --- retention --------------------------------------------------------------------------------

    def prune(self, through: int, *, now: float, keep_s: float, keep_bytes: int) -> int:
        """Remove the oldest segments whose messages are all durable (up to ``through``).

        Such segments are kept for ``keep_s`` and up to ``keep_bytes`` in all. They go in order,
        without a gap: if the record of a sealed message were removed before the responses that it
        covers, a recovery would charge those again. Returns how many were removed.
        """
        self._close_aged(now)
        needed_from = self._first_needed_number()
        witness = 0 if self._is_over else self._witness()
        removed, excess = 0, self.size - keep_bytes
        for segment in self._segments[:]:
            is_needed = (
                segment.last_sequence > through
                or segment.last_number >= needed_from
                or segment.last_sequence >= witness > 0
            )
            is_kept = now - segment.closed_at < keep_s and excess <= 0
            if segment is self._current or is_needed or is_kept:
                break
            self._remove(segment)
            self._index.remove_through(segment.last_sequence)
            excess -= segment.size
            removed += 1
        return removed

    def _first_needed_number(self) -> int:
        """The first response that is in no sealed message, or in one that is not synced."""
        unsynced = (number for covers in self._covers.values() for number in covers)
        return min([*self._open_numbers, *unsynced], default=self._last_number + 1)

    def _witness(self) -> int:
        """The last message that no power failure can take: its segment must stay until ``close``.

        A recovery that knew no sequence at all could not tell new responses from charged ones.
        """
        return min(self.sealed_through, self.synced_through) or self.sealed_through

    # --- helpers ----------------------------------------------------------------------------------

    def _append(self, record: bytes, now: float) -> Segment:
        segment = self._current
        if segment is None or segment.size + len(record) > SEGMENT_BYTES_MAX:
            segment = self._open(now)
        try:
            self._store.append(segment.number, record)
        except OSError:
            self._close_current(now)  # what stands there now is a torn tail
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
            # A full disk is probed every second: the files of failed attempts must not pile up.
            with contextlib.suppress(OSError):
                self._remove(segment)
            raise
        return segment

    def _remove(self, segment: Segment) -> None:
        """Remove a segment, also where its file was never made or is gone already."""
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
