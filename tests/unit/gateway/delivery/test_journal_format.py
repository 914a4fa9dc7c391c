"""Records whose bytes are intact and make no sense: a later release may have written them."""

import struct
import zlib

import pytest

from gateway.delivery.journal_format import (
    Damage,
    MeteredRecord,
    encode_header,
    encode_metered,
    encode_sealed,
    read_records,
    read_sealed,
)

PRODUCER = bytes(range(16))


def framed(body: bytes) -> bytes:
    """A record as the format says: mark, length, CRC over length and body, body."""
    length = struct.pack(">I", len(body))
    return b"\xf5RJ\n" + length + struct.pack(">I", zlib.crc32(length + body)) + body


UNKNOWN = {
    "nothing": b"",
    "another tag": b"X" + bytes(16),
    "a base that is too short": b"B" + bytes(15),
    "a base that is too long": b"B" + bytes(17),
    "a response without its number": b"M" + bytes(7),
    "a message without its count": b"S" + bytes(11),
    "a message that covers more than it names": b"S" + struct.pack(">QI", 1, 3) + bytes(16),
}


@pytest.mark.parametrize("body", UNKNOWN.values(), ids=list(UNKNOWN))
def test_a_record_that_is_not_understood_counts_as_damage(body: bytes) -> None:
    """Its bytes are counted, and the records around it are read."""
    first, last = encode_metered(1, b"one"), encode_metered(2, b"two")
    strange = framed(body)
    found = list(read_records(encode_header(PRODUCER) + first + strange + last))
    assert found == [MeteredRecord(1, b"one"), Damage(len(strange)), MeteredRecord(2, b"two")]
    assert read_sealed(strange) is None


def test_a_message_may_cover_nothing_and_hold_nothing() -> None:
    """The shortest record of its kind."""
    record = read_sealed(encode_sealed(7, (), b""))
    assert record is not None
    assert (record.sequence, record.covers, record.payload) == (7, (), b"")
    assert encode_sealed(7, (), b"") == framed(b"S" + struct.pack(">QI", 7, 0))
