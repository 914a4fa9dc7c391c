"""What a provider's handle is, and what it is called outside of the gateway. Pure."""

import hashlib
from enum import StrEnum
from typing import NamedTuple

from shared.wire import HANDLE_BYTES


class HandleKind(StrEnum):
    """What a handle leads to."""

    CALL = "call"
    CONVERSATION = "conversation"
    SESSION = "session"
    LIVE = "live session"  # of GPT-Live: others attach to it while it goes on, or fork it later


class Handle(NamedTuple):
    """What a provider calls something that another connection can ask for."""

    provider: str
    kind: HandleKind
    value: str

    @property
    def name(self) -> bytes:
        """What leaves the gateway in its place, ``HANDLE_BYTES`` long."""
        head = f"{self.provider}\0{self.kind}\0".encode()
        # A peer may write half a surrogate pair in JSON; whatever it is, it has one name.
        value = self.value.encode(errors="surrogatepass")
        return hashlib.sha256(head + value).digest()[:HANDLE_BYTES]


class IssuedHandle(NamedTuple):
    """A handle that the provider gave: by it another connection can go on with this session."""

    kind: HandleKind
    value: str
