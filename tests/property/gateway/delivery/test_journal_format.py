"""The journal's format: whatever damage there is, reading has only documented outcomes."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.delivery.journal_format import (
    HEADER_BYTES,
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

PRODUCER = bytes(range(16))
NUMBERS = st.integers(0, 2**63 - 1)
PAYLOADS = st.binary(max_size=60) | st.just(b"\xf5RJ\n" * 4)

RECORDS = st.one_of(
    st.builds(BaseRecord, NUMBERS, NUMBERS),
    st.builds(MeteredRecord, NUMBERS, PAYLOADS),
    st.builds(SealedRecord, NUMBERS, st.lists(NUMBERS, max_size=5).map(tuple), PAYLOADS),
)


def encoded(record: Record) -> bytes:
    """The bytes of one record."""
    if isinstance(record, BaseRecord):
        return encode_base(record.sequence, record.number)
    if isinstance(record, MeteredRecord):
        return encode_metered(record.number, record.payload)
    return encode_sealed(record.sequence, record.covers, record.payload)


def segment_of(records: list[Record]) -> bytes:
    """A whole segment."""
    return encode_header(PRODUCER) + b"".join(map(encoded, records))


def contents(segment: bytes) -> list[bytes | int]:
    """What is read: the bytes of each record, and the size of each damage."""
    return [
        found.size if isinstance(found, Damage) else encoded(found)
        for found in read_records(segment)
    ]


@given(st.lists(RECORDS, max_size=8))
def test_what_was_written_is_read(records: list[Record]) -> None:
    """In order, and a sealed message can be read on its own from where its record starts."""
    segment = segment_of(records)
    assert has_header(segment, PRODUCER)
    assert not has_header(segment, bytes(16))
    assert contents(segment) == list(map(encoded, records))
    for found in read_records(segment):
        if isinstance(found, SealedRecord):
            record = segment[found.at : found.at + len(encoded(found))]
            alone = read_sealed(record)
            assert alone is not None
            assert encoded(alone) == record


@given(st.lists(RECORDS, min_size=1, max_size=4))
def test_a_torn_tail_just_ends_the_segment(records: list[Record]) -> None:
    """Cut off at every byte: complete records are read, and nothing counts as damage."""
    whole, segment = list(map(encoded, records)), segment_of(records)
    ends = [HEADER_BYTES + sum(map(len, whole[:n])) for n in range(len(whole) + 1)]
    for size in range(len(segment) + 1):
        kept = max((n for n, end in enumerate(ends) if end <= size), default=0)
        assert contents(segment[:size]) == whole[:kept]


@given(st.lists(RECORDS, min_size=2, max_size=6), st.data())
def test_a_damaged_middle_is_counted_and_stepped_over(
    records: list[Record], data: st.DataObject
) -> None:
    """One flipped bit costs one record: its bytes are counted, all others are read."""
    whole, segment = list(map(encoded, records)), bytearray(segment_of(records))
    hit = data.draw(st.integers(0, len(whole) - 2), label="record")
    start = HEADER_BYTES + sum(map(len, whole[:hit]))
    at = data.draw(st.integers(start, start + len(whole[hit]) - 1), label="byte")
    segment[at] ^= 1 << data.draw(st.integers(0, 7), label="bit")
    expected: list[bytes | int] = [*whole[:hit], len(whole[hit]), *whole[hit + 1 :]]
    assert contents(bytes(segment)) == expected


@given(st.binary(max_size=300), st.lists(RECORDS, max_size=2), st.binary(max_size=40))
def test_any_bytes_are_records_or_damage(
    before: bytes, records: list[Record], after: bytes
) -> None:
    """Random bytes raise nothing, and complete records among them are found."""
    segment = encode_header(PRODUCER) + before + b"".join(map(encoded, records)) + after
    found = contents(segment)
    read = [record for record in found if isinstance(record, bytes)]
    assert read[: len(records)] == list(map(encoded, records))
    assert sum(len(f) if isinstance(f, bytes) else f for f in found) <= len(segment) - HEADER_BYTES


@given(st.binary(max_size=200))
def test_reading_one_record_never_raises(record: bytes) -> None:
    """A wrong offset finds no message."""
    assert read_sealed(record) is None
