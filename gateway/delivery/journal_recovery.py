"""Reads the journal of a producer whose process ended: what is sealed, unsealed, lost. Pure.

Used by ``journal`` when it opens a store. Reading costs the time of the bytes; nothing is written.
A torn tail is normal, because a record that was not complete was never acted upon. Damage in the
middle, and sequences or responses that must have been there and are not, are counted in
``Recovered``: then nobody can tell whether unsealed responses were charged already.
"""

from dataclasses import dataclass, field
from typing import Final

from gateway.delivery.journal_format import (
    HEADER_BYTES,
    RECORD_BYTES_MIN,
    BaseRecord,
    Damage,
    MeteredRecord,
    Record,
    SealedRecord,
    encode_base,
    has_header,
    read_records,
)
from gateway.delivery.segments import SealedIndex, Segment, Store
from gateway.limits import BATCH_RESPONSES, OUTBOX_BATCHES_MAX

# A jump in the numbering that no journal can have lost so many records for: damage, or forged.
_JUMP_MAX: Final = OUTBOX_BATCHES_MAX * BATCH_RESPONSES
# What a segment begins with; with more bytes than that its first record was once complete.
_START_BYTES: Final = HEADER_BYTES + len(encode_base(0, 0))


@dataclass(slots=True)
class Recovered:
    """What was found in the journal of a producer that ended.

    ``unsealed`` are the payloads of responses that no sealed message covers, by number.
    ``damaged_bytes``, ``missing_sequences`` and ``missing_numbers`` are zero unless the disk lost
    something in the middle: then what is unsealed may have been charged already.
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

        They were removed after the end marker (see ``Journal.prune``), or lost in a power failure
        before they were synced, and so never sent.
        """
        is_empty = not (self.last_payload or self.unsealed or self.is_damaged)
        return is_empty and self.last_sequence > 0


class Recovery:
    """The tables of a journal, built by reading its segments from the first to the last."""

    def __init__(self, producer: bytes) -> None:
        self.found = Recovered()
        self.segments: list[Segment] = []
        self.index = SealedIndex()
        self.last_number = 0  # the highest metered response
        self._producer = producer
        self._base: BaseRecord | None = None  # the first one that was read
        self._noted: set[int] = set()
        self._covered: set[int] = set()

    def read(self, store: Store, *, now: float) -> None:
        """Read everything in ``store``. Raises ``OSError`` when that is impossible."""
        for number, written_at in store.segments():
            segment = Segment(number, written_at, closed_at=min(written_at, now))
            self.segments.append(segment)
            self._read_segment(segment, store.read(number))
        self.found.last_sequence = self.index.last
        self.found.missing_sequences = self.index.missing
        self.found.missing_numbers = self._missing_numbers()

    # --- helpers ----------------------------------------------------------------------------------

    def _read_segment(self, segment: Segment, data: bytes) -> None:
        segment.size = len(data)
        if len(data) >= HEADER_BYTES and not has_header(data, self._producer):
            self.found.damaged_bytes += HEADER_BYTES  # each record has a check of its own
        is_readable = False
        for record in read_records(data):
            is_readable = True
            if isinstance(record, Damage):
                self.found.damaged_bytes += record.size
            elif self._is_implausible(record):
                self.found.damaged_bytes += RECORD_BYTES_MIN
            else:
                self._add(record, segment)
        if not is_readable and len(data) > _START_BYTES:
            # No torn tail: its first record was complete once, others were written after it.
            self.found.damaged_bytes += len(data) - HEADER_BYTES

    def _is_implausible(self, record: Record) -> bool:
        """Whether a record's numbers cannot follow those that were read before."""
        is_first = self._base is None and not self.index and not self._noted
        if is_first:
            return False
        sequence = 0 if isinstance(record, MeteredRecord) else record.sequence
        number = 0 if isinstance(record, SealedRecord) else record.number
        return sequence > self.index.last + _JUMP_MAX or number > self.last_number + _JUMP_MAX

    def _add(self, record: Record, segment: Segment) -> None:
        match record:
            case BaseRecord():
                self._continue_from(record)
            case MeteredRecord():
                segment.last_number = record.number
                self._noted.add(record.number)
                self.last_number = max(self.last_number, record.number)
                self.found.unsealed[record.number] = record.payload
            case SealedRecord() if record.sequence > self.index.last:
                self._add_sealed(record, segment)

    def _continue_from(self, base: BaseRecord) -> None:
        """The base of the first segment says what was removed before it; that of a later segment
        says what must have been in those before.
        """
        if self._base is None:
            self._base = base
            if not self.index:
                self.index.begin_at(base.sequence + 1)
        self.index.fill_through(base.sequence)
        self.last_number = max(self.last_number, base.number)

    def _add_sealed(self, record: SealedRecord, segment: Segment) -> None:
        if self._base is None and not self.index:
            self.index.begin_at(record.sequence)  # what was before it is not known
        self.index.add(record.sequence, segment.number, record.at)
        segment.last_sequence = record.sequence
        self.found.last_payload = record.payload
        self._covered.update(record.covers)
        self.last_number = max(self.last_number, *record.covers, 0)
        for number in record.covers:
            self.found.unsealed.pop(number, None)

    def _missing_numbers(self) -> int:
        """Responses that were lost: they are numbered without a gap, so each number from the first
        to the last is noted, or covered by a sealed message.
        """
        before = self._base.number if self._base is not None else min(self._noted, default=1) - 1
        expected = range(before + 1, self.last_number + 1)
        return sum(1 for n in expected if n not in self._noted and n not in self._covered)
