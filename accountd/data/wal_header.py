"""The header of a write-ahead log. Pure.

Source: https://sqlite.org/fileformat2.html#walformat
"""

import struct
from dataclasses import dataclass
from typing import Final

HEADER_BYTES: Final = 32
FRAME_HEADER_BYTES: Final = 24
_MAGIC_LITTLE: Final = 0x377F0682  # words are summed as little-endian integers
_MAGIC_BIG: Final = 0x377F0683
_MASK: Final = 0xFFFFFFFF

Checksum = tuple[int, int]
Salts = tuple[int, int]


@dataclass(frozen=True, slots=True)
class WalHeader:
    """The first 32 bytes of a log, ``raw``. A log that is started over has other ``salts``."""

    raw: bytes
    page_bytes: int
    salts: Salts
    checksum: Checksum
    is_big_endian: bool

    @property
    def frame_bytes(self) -> int:
        """The length of a frame."""
        return FRAME_HEADER_BYTES + self.page_bytes

    def length(self, frames: int) -> int:
        """The length of a log of so many frames."""
        return HEADER_BYTES + frames * self.frame_bytes


def parse_header(data: bytes) -> WalHeader | None:
    """The header; None when it is none, or half written."""
    if len(data) < HEADER_BYTES:
        return None
    magic, _, page_bytes, _, salt1, salt2, sum1, sum2 = struct.unpack(">8I", data[:HEADER_BYTES])
    if magic not in (_MAGIC_LITTLE, _MAGIC_BIG):
        return None
    is_big_endian = magic == _MAGIC_BIG
    found = (0, 0)
    words = struct.unpack(">6I" if is_big_endian else "<6I", data[:24])
    for a, b in zip(words[::2], words[1::2], strict=True):
        first = (found[0] + a + found[1]) & _MASK
        found = (first, (found[1] + b + first) & _MASK)
    if found != (sum1, sum2):
        return None
    raw = bytes(data[:HEADER_BYTES])
    return WalHeader(raw, page_bytes, (salt1, salt2), (sum1, sum2), is_big_endian)
