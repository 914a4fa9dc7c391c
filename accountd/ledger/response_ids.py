"""The ids of a batch's responses as they are stored. Pure.

Five ids of a provider are 140 characters, half of all that a row says. Ids of one length that are
made of letters, digits, ``-`` and ``_`` are stored in six bits a character: their length in a byte,
then the characters as base64url has them (RFC 4648, section 5). All others are a JSON list.
"""

import binascii
import json
from collections.abc import Sequence
from typing import Final

_CHARS_MIN: Final = 4  # of an id: what fills up the last bytes must be shorter
_CHARS_MAX: Final = 255  # as it fits into a byte
_TO_BASE64: Final = bytes.maketrans(b"-_+/=", b"+/***")  # * is none of base64's: not packed
_FROM_BASE64: Final = bytes.maketrans(b"+/", b"-_")
_FILLING: Final = ("", "AAA", "AA", "A")  # by what is over after groups of four characters


def pack(ids: Sequence[str]) -> str | bytearray:
    """The stored form, a text or a blob (a ``bytearray``: see ``usage_rows``)."""
    lengths = {*map(len, ids)}
    if len(lengths) == 1 and _CHARS_MIN <= (length := len(ids[0])) <= _CHARS_MAX:
        text = "".join(ids)
        try:
            joined = (text + _FILLING[len(text) % 4]).encode("ascii").translate(_TO_BASE64)
            packed = binascii.a2b_base64(joined, strict_mode=True)
        except ValueError:
            pass
        else:
            return bytearray((length,)) + packed
    return json.dumps(ids)


def unpack(stored: str | bytes) -> list[str]:
    """The ids that ``pack`` stored, or a JSON list of before."""
    if isinstance(stored, str):
        found: list[str] = json.loads(stored)
        return found
    length = stored[0]
    text = binascii.b2a_base64(stored[1:], newline=False).translate(_FROM_BASE64).decode("ascii")
    return [text[start : start + length] for start in range(0, len(text) - length + 1, length)]
