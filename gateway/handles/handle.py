"""A provider's handle, and the digest that stands for it outside of the gateway. Pure.

Meters find handles in a provider's events; ``ownership`` keeps who owns them.
"""

import hashlib
from enum import StrEnum
from typing import NamedTuple

from shared.wire import HANDLE_BYTES


class HandleKind(StrEnum):
    """What a handle gives access to."""

    CALL = "call"
    CONVERSATION = "conversation"
    SESSION = "session"
    LIVE = "live session"  # of GPT-Live: others attach to it while it goes on, or fork it later


class Handle(NamedTuple):
    """An id that a provider gave to something which another connection can use by naming it."""

    provider: str
    kind: HandleKind
    value: str

    @property
    def digest(self) -> bytes:
        """What leaves the gateway instead of the handle: a SHA-256, cut to ``HANDLE_BYTES``."""
        head = f"{self.provider}\0{self.kind}\0".encode()
        # JSON can spell half of a surrogate pair, which UTF-8 cannot encode otherwise.
        value = self.value.encode(errors="surrogatepass")
        return hashlib.sha256(head + value).digest()[:HANDLE_BYTES]


class IssuedHandle(NamedTuple):
    """A handle in a provider's event: another connection can go on with this session by it."""

    kind: HandleKind
    value: str
