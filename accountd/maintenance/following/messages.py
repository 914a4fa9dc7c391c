"""What the two ends of a continuous copy say to each other, as bytes. Pure.

A message is a magic, the length of its body, a digest of the body, and the body: msgpack of a list
whose first member is the message's name. Both ends read with a ``Decoder``.
"""

import hashlib
import struct
from collections.abc import Iterator
from typing import Any, Final

import msgpack

VERSION: Final = 1
# A body holds at most a few blocks of the database or a piece of the log.
BODY_BYTES_MAX: Final = 8 * 1024 * 1024
_MAGIC: Final = b"RTSC"
_HEAD: Final = struct.Struct(">4sI16s")
DIGEST_BYTES: Final = 16

Message = list[Any]


class DamagedError(Exception):
    """What arrived is not what was sent."""


class NoiseError(Exception):
    """What arrived first is no message at all: a remote shell prints text when it starts."""


def digest(data: bytes) -> bytes:
    """What stands for these bytes."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


def encode(name: str, *values: Any) -> bytes:
    """A message as bytes."""
    body: bytes = msgpack.packb([name, *values])
    assert len(body) <= BODY_BYTES_MAX
    return _HEAD.pack(_MAGIC, len(body), digest(body)) + body


class Decoder:
    """Finds the messages in what was read."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._has_read = False

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that are whole with ``data``; raises ``DamagedError`` or ``NoiseError``."""
        self._held += data
        while len(self._held) >= _HEAD.size:
            magic, length, expected = _HEAD.unpack_from(self._held)
            if magic != _MAGIC or length > BODY_BYTES_MAX:
                if self._has_read:
                    raise DamagedError("a message's head is damaged")
                raise NoiseError(bytes(self._held[:60]).decode(errors="replace"))
            if len(self._held) < _HEAD.size + length:
                return
            body = bytes(self._held[_HEAD.size : _HEAD.size + length])
            del self._held[: _HEAD.size + length]
            if digest(body) != expected:
                raise DamagedError("a message's digest is wrong")
            self._has_read = True
            message: Message = msgpack.unpackb(body)
            yield message
