"""The format of a journal's segments: what was metered and what was sealed, in order. Pure.

A segment is a header and records. Each record has a mark, its length and a CRC, so that a torn tail
is recognised, and damage in the middle is found, counted and skipped::

    segment  = "RTSJ" version(1) producer(16)  record*
    record   = mark(4) length(u32) crc32(u32) body            CRC over length and body
    body     = "B" sequence(u64) number(u64)     base: the last numbers given before this segment
             | "M" number(u64) payload                        one response, metered
             | "S" sequence(u64) count(u32) number(u64)* payload     a message, sealed

``payload`` is what travels on the wire (``shared.wire``). ``number`` counts the producer's metered
responses; a sealed message names those that it covers. All integers are big endian.

A segment begins with a ``BaseRecord``. It shows what is missing at the end of the segment before,
although that looks like a torn tail there; and in the first segment, that what was removed before
it is not missing. Written by ``journal``, read by ``journal_recovery``.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from shared.fields import MESSAGE_BYTES_MAX
from shared.usage import RESPONSES_PER_BATCH_MAX
from shared.wire import PRODUCER_BYTES

_MAGIC: Final = b"RTSJ\x01"
_MARK: Final = b"\xf5RJ\n"
_FRAME: Final = struct.Struct(">4sII")
_LENGTH: Final = struct.Struct(">I")
_METERED: Final = struct.Struct(">cQ")
_SEALED: Final = struct.Struct(">cQI")
_BASE: Final = struct.Struct(">cQQ")
HEADER_BYTES: Final = len(_MAGIC) + PRODUCER_BYTES
RECORD_BYTES_MIN: Final = _FRAME.size
RECORD_BYTES_MAX: Final = MESSAGE_BYTES_MAX + 8 * RESPONSES_PER_BATCH_MAX + 64


@dataclass(frozen=True, slots=True)
class BaseRecord:
    """The highest sequence and the highest number that earlier segments hold, or held."""

    sequence: int
    number: int


@dataclass(frozen=True, slots=True)
class MeteredRecord:
    """One metered response, written before its event is forwarded."""

    number: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class SealedRecord:
    """A message with its sequence, written before it is sent. ``at`` is where its record starts."""

    sequence: int
    covers: tuple[int, ...]
    payload: bytes
    at: int = 0


Record = BaseRecord | MeteredRecord | SealedRecord


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes in the middle of a segment that are no record, while records follow them."""

    size: int


def encode_header(producer: bytes) -> bytes:
    """What a segment starts with."""
    assert len(producer) == PRODUCER_BYTES
    return _MAGIC + producer


def encode_base(sequence: int, number: int) -> bytes:
    """The first record of a segment."""
    return _framed(_BASE.pack(b"B", sequence, number))


def encode_metered(number: int, payload: bytes) -> bytes:
    """The record of one metered response."""
    return _framed(_METERED.pack(b"M", number) + payload)


def encode_sealed(sequence: int, covers: Sequence[int], payload: bytes) -> bytes:
    """The record of a sealed message."""
    numbers = struct.pack(f">{len(covers)}Q", *covers)
    return _framed(_SEALED.pack(b"S", sequence, len(covers)) + numbers + payload)


def has_header(segment: bytes, producer: bytes) -> bool:
    """Whether a segment is one of ``producer``."""
    return segment.startswith(encode_header(producer))


def read_records(segment: bytes) -> Iterator[Record | Damage]:
    """Everything in a segment, in order. A torn tail ends it: an incomplete record was never acted
    upon.
    """
    at, end = HEADER_BYTES, len(segment)
    while at < end:
        record, size = _read_record(segment, at)
        if record is not None:
            yield record
            at += size
            continue
        following = _next_record(segment, at + 1)
        if following < 0:
            return
        yield Damage(following - at)
        at = following


def read_sealed(record: bytes) -> SealedRecord | None:
    """The sealed message in the bytes of one record; None when they hold none."""
    found, _ = _read_record(record, 0)
    return found if isinstance(found, SealedRecord) else None


def _framed(body: bytes) -> bytes:
    length = _LENGTH.pack(len(body))
    return _FRAME.pack(_MARK, len(body), zlib.crc32(body, zlib.crc32(length))) + body


def _read_record(segment: bytes, at: int) -> tuple[Record | None, int]:
    """(the record at ``at`` or None, its size)."""
    start = at + _FRAME.size
    if start > len(segment):
        return None, 0
    mark, length, crc = _FRAME.unpack_from(segment, at)
    if mark != _MARK or length > RECORD_BYTES_MAX or start + length > len(segment):
        return None, 0
    body = segment[start : start + length]
    if zlib.crc32(body, zlib.crc32(_LENGTH.pack(length))) != crc:
        return None, 0
    return _parse(body, at), _FRAME.size + length


def _next_record(segment: bytes, at: int) -> int:
    """Where the next readable record starts; -1 when there is none."""
    while (at := segment.find(_MARK, at)) >= 0:
        if _read_record(segment, at)[0] is not None:
            return at
        at += 1
    return -1


def _parse(body: bytes, at: int) -> Record | None:
    tag, size = body[:1], len(body)
    if tag == b"B" and size == _BASE.size:
        _, sequence, number = _BASE.unpack(body)
        return BaseRecord(sequence, number)
    if tag == b"M" and size >= _METERED.size:
        _, number = _METERED.unpack_from(body)
        return MeteredRecord(number, body[_METERED.size :])
    if tag == b"S" and size >= _SEALED.size:
        _, sequence, count = _SEALED.unpack_from(body)
        end = _SEALED.size + 8 * count
        if end <= size:
            covers = struct.unpack_from(f">{count}Q", body, _SEALED.size)
            return SealedRecord(sequence, covers, body[end:], at)
    return None
