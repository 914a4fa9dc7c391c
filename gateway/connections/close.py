"""How a WebSocket connection ends: close codes and the event that says which. Pure."""

from dataclasses import dataclass
from typing import Final

from shared.errors import cause_of

# RFC 6455 section 7.4.1, and the IANA registry for 1013.
NORMAL_CLOSURE: Final = 1000
GOING_AWAY: Final = 1001
NO_STATUS: Final = 1005  # a close frame without a code; never on the wire
ABNORMAL_CLOSURE: Final = 1006  # no close frame at all; never on the wire
POLICY_VIOLATION: Final = 1008  # no SDK of a provider dials again on it
INTERNAL_ERROR: Final = 1011
TRY_AGAIN_LATER: Final = 1013

# RFC 6455 section 5.5: a control frame holds 125 bytes, and the code takes two of them.
_REASON_BYTES_MAX: Final = 123


@dataclass(frozen=True, slots=True)
class CloseEvent:
    """How a connection ended: the peer's close code and reason, or 1006 and a reason of ours.

    ``is_violation`` says that the peer broke the protocol, and that the code is ours;
    ``is_silence``, that it was cut because it took or sent nothing.
    """

    code: int
    reason: str
    is_violation: bool = False
    is_silence: bool = False


def fitting(reason: str) -> str:
    """A close reason cut to what a close frame can hold, between two characters."""
    return reason.encode()[:_REASON_BYTES_MAX].decode(errors="ignore")


def loss_reason(exc: Exception | None) -> str:
    """Why a connection ended without a close frame."""
    return "connection closed without a close frame" if exc is None else cause_of(exc)
