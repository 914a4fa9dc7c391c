"""What is in a write-ahead log: whole frames, the chain of their checksums. Pure.

A log is a header of 32 bytes, then frames: 24 bytes of header and one page. Every frame carries the
salts of the log's header and a checksum over everything before it, so two logs with the same salts
and the same checksum at an offset have the same bytes up to there. SQLCipher encrypts pages before
they are summed: nothing here needs the key. Source: https://sqlite.org/fileformat2.html#walformat
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from accountd.data.wal_header import FRAME_HEADER_BYTES, Checksum, WalHeader

_MASK: Final = 0xFFFFFFFF
# Frames that are summed at once: about a megabyte.
_FRAMES_AT_ONCE: Final = 256


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame: its page's number, where its page lies in the log, and what it commits.

    ``database_pages`` is the length of the database after the commit that ends with this frame; 0
    in every other frame.
    """

    page: int
    page_offset: int
    database_pages: int
    checksum: Checksum


def frames(header: WalHeader, after: Checksum, offset: int, data: bytes) -> Iterator[Frame]:
    """The frames in ``data``, which lies at ``offset`` of the log, up to the first damaged one.

    ``after`` is the checksum of what lies before: that of the frame, or of the header.
    """
    size = header.frame_bytes
    step = size * _FRAMES_AT_ONCE
    for start in range(0, len(data), step):
        part = data[start : start + step]
        count = len(part) // size
        shares = _shares(header, part, count)
        for number in range(count):
            fields = struct.unpack_from(">6I", part, number * size)
            page, database_pages, salts, noted = fields[0], fields[1], fields[2:4], fields[4:6]
            after = _advance(header.page_bytes, after, shares[number])
            if salts != header.salts or noted != after or page == 0:
                return
            at = offset + start + number * size + FRAME_HEADER_BYTES
            yield Frame(page, at, database_pages, after)
        if count * size < len(part):
            return


def _advance(page_bytes: int, after: Checksum, share: "tuple[int, int]") -> Checksum:
    """The checksum after a frame, from the one before it and what the frame itself adds."""
    p, q, r = _power(_pairs(page_bytes))
    return (
        (p * after[0] + q * after[1] + share[0]) & _MASK,
        (q * after[0] + r * after[1] + share[1]) & _MASK,
    )


def _pairs(page_bytes: int) -> int:
    return (8 + page_bytes) // 8


def _power(exponent: int) -> tuple[int, int, int]:
    """The matrix ((1, 1), (1, 2)) to a power, modulo 2^32: ((p, q), (q, r)).

    A step of the checksum with the words a and b multiplies the two sums by it and adds (a, a + b).
    """
    known = _POWERS.get(exponent)
    if known is None:
        known = (1, 0, 1)
        for _ in range(exponent):
            known = _times_once(known)
        _POWERS[exponent] = known
    return known


def _times_once(power: tuple[int, int, int]) -> tuple[int, int, int]:
    p, q, r = power
    return (p + q) & _MASK, (q + r) & _MASK, (q + 2 * r) & _MASK


_POWERS: Final[dict[int, tuple[int, int, int]]] = {}
_WEIGHTS: Final[dict[int, Any]] = {}


def _weights(page_bytes: int) -> Any:
    """What each word of a frame counts in the two sums at its end: an array (words, 2)."""
    if page_bytes not in _WEIGHTS:
        pairs = _pairs(page_bytes)
        weights = np.zeros((2 * pairs, 2), dtype=np.uint32)
        power = (1, 0, 1)
        for pair in range(pairs - 1, -1, -1):
            p, q, r = power
            weights[2 * pair] = ((p + q) & _MASK, (q + r) & _MASK)
            weights[2 * pair + 1] = (q, r)
            power = _times_once(power)
        _WEIGHTS[page_bytes] = weights
    return _WEIGHTS[page_bytes]


def _shares(header: WalHeader, part: bytes, count: int) -> list[tuple[int, int]]:
    """What each of ``count`` frames adds to the two sums."""
    order = ">u4" if header.is_big_endian else "<u4"
    table = np.frombuffer(part, dtype=order, count=count * header.frame_bytes // 4)
    table = table.reshape(count, header.frame_bytes // 4)
    # The first eight bytes of a frame's header are summed, its salts and the checksum are not.
    words = np.concatenate((table[:, :2], table[:, 6:]), axis=1).astype(np.uint32)
    return [(int(a), int(b)) for a, b in words @ _weights(header.page_bytes)]
